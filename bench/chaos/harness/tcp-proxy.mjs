import { connect, createServer } from 'node:net';

/** A TCP hop that can be partitioned: packets wait, connections stay, new ones get no answer either. */
export async function startTcpProxy(targetPort) {
  const pairs = new Set();
  let isPartitioned = false;

  const server = createServer((near) => {
    const far = connect(targetPort, '127.0.0.1');
    const pair = [near, far];
    pairs.add(pair);
    for (const [from, to] of [pair, [far, near]]) {
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
