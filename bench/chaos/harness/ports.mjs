import { createServer } from 'node:net';

/** Below the ephemeral port range: an outgoing connection could take a port there while a process restarts. */
const [minPort, maxPort] = [20_000, 32_000];
const reserved = new Set();

/** `count` local ports that were free when checked; no port is returned twice in a run. */
export async function freePorts(count) {
  const ports = [];
  while (ports.length < count) {
    const port = minPort + Math.floor(Math.random() * (maxPort - minPort));
    if (reserved.has(port)) continue;
    reserved.add(port); // before the check, which takes time: scenarios ask for ports in parallel
    if (await isFree(port)) ports.push(port);
  }
  return ports;
}

function isFree(port) {
  return new Promise((resolve) => {
    const server = createServer().once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
}
