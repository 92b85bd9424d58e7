import type { AddressInfo } from 'node:net';
import { connect, createServer, type Server, type Socket } from 'node:net';

/** A TCP relay to a server: closed, the server seems unreachable; paused, it seems to hang. */
export interface Relay {
  readonly port: number;
  open(): Promise<void>;
  close(): Promise<void>;
  /** Connections stay open, but no bytes pass until `resume`. */
  pause(): void;
  resume(): void;
  /** The connections that are open stay open, but no byte ever passes again, as after a lost node; new ones work. */
  freeze(): void;
  /** The number of connections made so far. */
  readonly connections: number;
}

/** A relay to `target`, closed at first. Its port stays the same when it is closed and opened again. */
export async function createRelay(target: { readonly host: string; readonly port: number }): Promise<Relay> {
  const sockets = new Set<Socket>();
  const frozen = new Set<Socket>();
  let isPaused = false;
  let connections = 0;
  let server: Server | undefined;
  let port = 0;

  function relayConnection(client: Socket): void {
    connections += 1;
    const upstream = connect(target);
    for (const [from, to] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      sockets.add(from);
      from.on('data', (chunk) => to.write(chunk));
      from.on('error', () => undefined); // 'close' follows
      from.on('close', () => {
        sockets.delete(from);
        to.destroy();
      });
      if (isPaused) from.pause();
    }
  }

  const relay: Relay = {
    get port() {
      return port;
    },
    get connections() {
      return connections;
    },
    async open() {
      server = createServer(relayConnection);
      await new Promise<void>((resolve) => server?.listen(port, '127.0.0.1', resolve));
      port = (server.address() as AddressInfo).port;
    },
    async close() {
      const closed = new Promise((resolve) => server?.close(resolve));
      for (const each of [...sockets, ...frozen]) each.destroy();
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
    freeze() {
      for (const each of sockets) {
        each.pause();
        frozen.add(each);
        sockets.delete(each);
      }
    },
  };
  await relay.open();
  await relay.close();
  return relay;
}

/** One handle for several relays. Its port is that of the first one. */
export function combineRelays(relays: readonly Relay[]): Relay {
  const all = async (work: (relay: Relay) => Promise<void>) => {
    await Promise.all(relays.map(work));
  };
  return {
    get port() {
      return relays[0]!.port;
    },
    get connections() {
      return relays.reduce((sum, each) => sum + each.connections, 0);
    },
    open: () => all((each) => each.open()),
    close: () => all((each) => each.close()),
    pause() {
      for (const each of relays) each.pause();
    },
    resume() {
      for (const each of relays) each.resume();
    },
    freeze() {
      for (const each of relays) each.freeze();
    },
  };
}
