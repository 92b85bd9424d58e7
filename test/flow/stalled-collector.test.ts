import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { buildApp } from '../support/build.ts';
import { type LatchkeyProcess, startLatchkeyProcess } from '../support/latchkey-process.ts';
import { freePort } from '../support/processes.ts';
import { waitFor } from '../support/redis-topologies.ts';

let build: string;
let latchkey: LatchkeyProcess;
beforeAll(() => {
  build = buildApp();
}, 60_000);
afterEach(() => latchkey.close());
afterAll(() => rmSync(build, { recursive: true, force: true }));

/** Their log lines are four times what may wait. */
async function sendRequests(origin: string): Promise<readonly number[]> {
  const path = `/${'x'.repeat(8_000)}`;
  const statuses: number[] = [];
  for (let round = 0; round < 30; round += 1) {
    const responses = await Promise.all(Array.from({ length: 20 }, () => fetch(origin + path)));
    for (const response of responses) {
      statuses.push(response.status);
      await response.arrayBuffer();
    }
  }
  return statuses;
}

test('a log collector that stops reading stops no request; what was dropped is counted, and logged when it reads again', async () => {
  const metricsPort = await freePort();
  const env = { METRICS_PORT: metricsPort, AUDIT_LOG: 'stdout' };
  latchkey = startLatchkeyProcess(build, env);
  const origin = await latchkey.listening();
  const { stdout } = latchkey.child;
  const countDropped = async (kind: string) => {
    const text = await (await fetch(`http://localhost:${metricsPort}/metrics`)).text();
    return Number(new RegExp(`latchkey_log_lines_dropped_total\\{kind="${kind}"\\} (\\d+)`).exec(text)?.[1]);
  };
  expect([await countDropped('log'), await countDropped('audit')]).toEqual([0, 0]);

  stdout?.pause();
  expect(new Set(await sendRequests(origin))).toEqual(new Set([404]));
  const dropped = await countDropped('log');
  expect(dropped).toBeGreaterThan(100);
  const crossSite = { method: 'POST', headers: { origin: 'https://evil.example' } };
  expect((await fetch(`${origin}/auth/logout`, crossSite)).status).toBe(403);

  stdout?.resume();
  await waitFor(
    () => latchkey.logged('lines were dropped, because nobody read the standard output').length > 0,
  );
  const [report] = latchkey.logged('lines were dropped, because nobody read the standard output');
  expect(report?.lines).toBeGreaterThanOrEqual(dropped);
  expect(report).not.toHaveProperty('reqId');
  expect(latchkey.stdout.some((line) => line.includes('"event":"request_rejected"'))).toBe(true);
  expect(latchkey.stdout.every((line) => typeof JSON.parse(line) === 'object')).toBe(true);
  expect(await countDropped('audit')).toBe(0);

  stdout?.pause();
  await sendRequests(origin);
  latchkey.child.kill('SIGTERM');
  const [code] = await once(latchkey.child, 'exit');
  expect(code).toBe(0);
}, 60_000);
