import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import { type Latchkey, startLatchkey } from '../support/latchkey.ts';
import { freePort } from '../support/processes.ts';
import { createRelay, type Relay } from '../support/relay.ts';
import { scrape } from '../support/scrape.ts';
import { testRedisUrl } from '../support/test-redis.ts';

let relay: Relay;
let latchkey: Latchkey;
let provider: Server;
let issuer: string;
let requestsToProvider = 0;

beforeEach(async () => {
  const { hostname, port } = new URL(testRedisUrl());
  relay = await createRelay({ host: hostname, port: Number(port) });
  await relay.open();
  issuer = `http://127.0.0.1:${await freePort()}`;
  requestsToProvider = 0;
  provider = createServer((_req, res) => {
    requestsToProvider += 1;
    const endpoints = ['authorization_endpoint', 'token_endpoint', 'jwks_uri'].map((name) => [
      name,
      `${issuer}/${name}`,
    ]);
    res
      .setHeader('content-type', 'application/json')
      .end(JSON.stringify({ issuer, ...Object.fromEntries(endpoints) }));
  });
});
afterEach(async () => {
  relay.resume();
  provider.close().closeAllConnections();
  await latchkey.close();
  await relay.close();
});

const startProvider = () => once(provider.listen(Number(new URL(issuer).port), '127.0.0.1'), 'listening');

async function start(): Promise<void> {
  latchkey = await startLatchkey({
    issuer,
    apiUrl: issuer,
    ...{ clientId: 'x', clientSecret: 'y' },
    env: { REDIS_URL: `redis://127.0.0.1:${relay.port}${new URL(testRedisUrl()).pathname}` },
  });
}

async function probe() {
  const response = await fetch(`${latchkey.origin}/readyz`);
  return (await response.json()) as object;
}

async function waitForProbe(expected: object): Promise<void> {
  for (;;) {
    const answer = await probe();
    if (JSON.stringify(answer) === JSON.stringify(expected)) return;
    await delay(50);
  }
}

const ready = { status: 'ok', store: 'ok', provider: 'ok' };

test('/readyz names the store while Redis is unavailable, and /healthz stays 200', async () => {
  await startProvider();
  await start();
  await waitForProbe(ready);
  await relay.close();
  await waitForProbe({ status: 'failing', store: 'failing', provider: 'ok' });
  expect((await fetch(`${latchkey.origin}/readyz`)).status).toBe(503);
  expect((await fetch(`${latchkey.origin}/healthz`)).status).toBe(200);
  await relay.open();
  await waitForProbe(ready);
  expect((await fetch(`${latchkey.origin}/readyz`)).status).toBe(200);
}, 20_000);

test('/readyz names the provider until its metadata is loaded, and an outage of the provider after that changes nothing', async () => {
  await start();
  await waitForProbe({ status: 'failing', store: 'ok', provider: 'failing' });
  await startProvider();
  await waitForProbe(ready);
  provider.close().closeAllConnections();
  await relay.close(); // the next result shows that there was a check after the outage began
  await waitForProbe({ status: 'failing', store: 'failing', provider: 'ok' });
  await relay.open();
  await waitForProbe(ready);
}, 20_000);

test('a Redis that hangs makes /readyz fail within two seconds', async () => {
  await startProvider();
  await start();
  await waitForProbe(ready);
  relay.pause();
  const startedAt = performance.now();
  await waitForProbe({ status: 'failing', store: 'failing', provider: 'ok' });
  expect(performance.now() - startedAt).toBeLessThan(3_000);
}, 20_000);

test('however many probes arrive, the store is read about once a second, and the provider is not asked again', async () => {
  await startProvider();
  await start();
  await waitForProbe(ready);
  const series = 'latchkey_store_command_duration_seconds_count{command="get"}';
  const before = (await scrape(latchkey)).get(series) ?? 0;
  const requestsBefore = requestsToProvider;
  const startedAt = performance.now();
  for (let round = 0; round < 10; round += 1) await Promise.all(Array.from({ length: 20 }, probe));
  const seconds = (performance.now() - startedAt) / 1000;
  expect(((await scrape(latchkey)).get(series) ?? 0) - before).toBeLessThanOrEqual(Math.ceil(seconds) + 1);
  expect(requestsToProvider).toBe(requestsBefore);
}, 20_000);
