import type { IncomingMessage, RequestListener, Server } from 'node:http';
import type { Duplex } from 'node:stream';
import { createUpgradeListener, ignoreUpgrade } from '../proxy/websocket/upgrade.ts';

/** The listeners that only make Node.js emit `upgrade`. */
const placeholders = new WeakSet<object>();

/**
 * Handles the upgrades of `server` for which `isOwn` is true. The other listeners of the server do not see these, because
 * several libraries close every WebSocket whose path they do not know. If there are no others, the remaining upgrades are
 * ignored, as they would be without any listener.
 */
export function attachToServer(
  server: Server,
  isOwn: (req: IncomingMessage) => boolean,
  handler: RequestListener,
): void {
  const handleUpgrade = createUpgradeListener(server, handler);
  const { emit } = server;
  Object.assign(server, {
    emit(event: string, ...args: readonly unknown[]): boolean {
      if (event !== 'upgrade') return Reflect.apply(emit, server, [event, ...args]);
      const [req, duplex, head] = args as [IncomingMessage, Duplex, Buffer];
      if (isOwn(req)) handleUpgrade(req, duplex, head);
      else return Reflect.apply(emit, server, [event, ...args]);
      return true;
    },
  });
  // Node.js emits `upgrade` only if there is a listener.
  const placeholder = (req: IncomingMessage, _duplex: Duplex, head: Buffer) => {
    const listeners = server.listeners('upgrade');
    if (listeners[0] === placeholder && listeners.every((each) => placeholders.has(each)))
      ignoreUpgrade(server, req, head);
  };
  placeholders.add(placeholder);
  server.on('upgrade', placeholder);
}
