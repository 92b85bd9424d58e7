import { createServer } from 'node:net';

/** Below the ports that systems take for outgoing connections, one of which could sit there when we come back. */
const [lowest, highest] = [20_000, 32_000];
const given = new Set();

/** So many ports of this machine that were free a moment ago; none is given twice. */
export async function freePorts(count) {
  const ports = [];
  while (ports.length < count) {
    const port = lowest + Math.floor(Math.random() * (highest - lowest));
    if (given.has(port) || !(await isFree(port))) continue;
    given.add(port);
    ports.push(port);
  }
  return ports;
}

function isFree(port) {
  return new Promise((resolve) => {
    const server = createServer().once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
}
