import type { AddressInfo } from 'node:net';
import { connect, createServer, type Server, type Socket } from 'node:net';

/** A way to a server that can be closed, as when the server is away, or held, as when it hangs. */
export interface Relay {
  readonly port: number;
  open(): Promise<void>;
  close(): Promise<void>;
  /** Bytes stay where they are, and connections stay open, until `resume`. */
  pause(): void;
  resume(): void;
}

/** A relay to `to`, closed at first; its port stays the same. */
export async function createRelay(to: { readonly host: string; readonly port: number }): Promise<Relay> {
  const sockets = new Set<Socket>();
  let isPaused = false;
  let server: Server | undefined;
  let port = 0;

  function pass(from: Socket): void {
    const there = connect(to);
    for (const [one, other] of [
      [from, there],
      [there, from],
    ] as const) {
      sockets.add(one);
      one.on('data', (chunk) => other.write(chunk));
      one.on('error', () => undefined); // 'close' follows
      one.on('close', () => {
        sockets.delete(one);
        other.destroy();
      });
      if (isPaused) one.pause();
    }
  }

  const relay: Relay = {
    get port() {
      return port;
    },
    async open() {
      server = createServer(pass);
      await new Promise<void>((resolve) => server?.listen(port, '127.0.0.1', resolve));
      port = (server.address() as AddressInfo).port;
    },
    async close() {
      const closed = new Promise((resolve) => server?.close(resolve));
      for (const each of sockets) each.destroy();
      await closed;
    },
    pause() {
      isPaused = true;
      for (const each of sockets) each.pause();
    },
    resume() {
      isPaused = false;
      for (const each of sockets) each.resume();
    },
  };
  await relay.open();
  await relay.close();
  return relay;
}
