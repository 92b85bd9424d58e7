import { connect, createServer } from 'node:net';

/** Starts a TCP proxy that can simulate a partition: connections, old and new, stay open but pass no data. */
export async function startTcpProxy(targetPort) {
  const pairs = new Set();
  let isPartitioned = false;

  const server = createServer((client) => {
    const target = connect(targetPort, '127.0.0.1');
    const pair = [client, target];
    pairs.add(pair);
    for (const [from, to] of [pair, [target, client]]) {
      from.on('data', (chunk) => to.write(chunk));
      from.on('error', () => to.destroy());
      from.on('close', () => {
        to.destroy();
        pairs.delete(pair);
      });
      if (isPartitioned) from.pause();
    }
  });
  const port = await new Promise((resolve) => {
    server.listen(0, '127.0.0.1', () => resolve(server.address().port));
  });

  return {
    port,
    partition() {
      isPartitioned = true;
      for (const socket of [...pairs].flat()) socket.pause();
    },
    heal() {
      isPartitioned = false;
      for (const socket of [...pairs].flat()) socket.resume();
    },
    close() {
      for (const socket of [...pairs].flat()) socket.destroy();
      server.close();
    },
  };
}
