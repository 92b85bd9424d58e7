import { once } from 'node:events';
import { createServer } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import express, { type ErrorRequestHandler } from 'express';
import { pino } from 'pino';
import { AppError } from '../../src/errors.ts';
import { createMetrics } from '../../src/metrics/metrics.ts';
import { createBodyLimits } from '../../src/middleware/body-limits.ts';

test('strangers whose bodies arrive slowly do not keep others from being received, where that is the rule', async () => {
  const app = express();
  const limitBody = createBodyLimits({
    getUserKey: async () => undefined,
    log: pino({ level: 'silent' }),
    metrics: createMetrics(),
    limits: { total: 3, perAddress: 10, patienceMs: 50 },
  });
  const respond: ErrorRequestHandler = (error, _req, res, _next) => {
    res.status(error instanceof AppError && error.code === 'request_timeout' ? 408 : 503).end();
  };
  app.post('/', limitBody(express.text()), (_req, res) => void res.end('received'));
  app.use(respond);
  const server = createServer(app).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const post = async () =>
    (
      await fetch(`http://127.0.0.1:${port}/`, {
        ...{ method: 'POST', body: 'a body' },
        headers: { 'content-type': 'text/plain' },
      })
    ).status;
  const responses: string[] = [];
  const sockets = Array.from({ length: 3 }, () => {
    const socket = connect(port, '127.0.0.1');
    socket.on('data', (data) => responses.push(String(data).slice(9, 12)));
    socket.on('error', () => undefined);
    socket.write('POST / HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: 100\r\n\r\nx');
    return socket;
  });
  try {
    while ((await post()) !== 503 && responses.length === 0) await delay(5); // until all places are taken
    while ((await post()) !== 200) await delay(5);
    while (responses.length === 0) await delay(5);
    expect(responses).toEqual(['408']);
  } finally {
    for (const each of sockets) each.destroy();
    server.closeAllConnections();
    server.close();
  }
}, 5_000); // the time for a whole body is longer
