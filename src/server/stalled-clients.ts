import type { Server } from 'node:http';
import type { Socket } from 'node:net';
import type { Logger } from '../logger.ts';
import { elapsedMs } from '../time/elapsed.ts';

interface StalledClientOptions {
  /** How long a client may take nothing of what is waiting for it. */
  readonly timeoutMs: number;
  readonly log: Logger;
}

const maxSweepIntervalMs = 5_000;

/**
 * Disconnects clients that do not read what they requested: responses of all kinds, event streams and WebSockets. Each
 * would otherwise occupy memory, and a connection to the API. A client that reads slowly stays connected.
 */
export function disconnectStalledClients(server: Server, { timeoutMs, log }: StalledClientOptions): void {
  const clients = new Map<Socket, { sentBytes: number; since: number }>();

  server.on('connection', (socket: Socket) => {
    clients.set(socket, { sentBytes: 0, since: elapsedMs() });
    socket.once('close', () => clients.delete(socket));
  });

  function sweep(): void {
    const now = elapsedMs();
    for (const [socket, progress] of clients) {
      const sentBytes = socket.bytesWritten - socket.writableLength; // accepted by the operating system
      if (socket.writableLength === 0 || sentBytes > progress.sentBytes) {
        progress.sentBytes = sentBytes;
        progress.since = now;
      } else if (now - progress.since >= timeoutMs) {
        log.info({ address: socket.remoteAddress, sentBytes }, 'client disconnected: it does not read');
        socket.destroy();
      }
    }
  }

  const timer = setInterval(sweep, Math.min(timeoutMs / 4, maxSweepIntervalMs)).unref();
  server.once('close', () => clearInterval(timer));
}
