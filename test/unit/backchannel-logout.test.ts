import { setTimeout as delay } from 'node:timers/promises';
import { storeUnavailable } from '../../src/errors.ts';
import { createLogger } from '../../src/logger.ts';
import { createMemoryProviderLogouts } from '../../src/stores/memory/provider-logouts.ts';
import { createBackchannelLogout } from '../../src/tokens/backchannel-logout.ts';

const validUntil = Date.now() + 60_000;

function start() {
  const lines: string[] = [];
  const log = createLogger('info', { write: (line: string) => void lines.push(line) });
  const ended: string[] = [];
  const broken = new Set<string>();
  let isAvailable = true;
  let offsetMs = 0;
  const now = () => Date.now() + offsetMs;
  const tokens = {
    async endAllOf(of: { sid: string } | { sub: string }) {
      const name = 'sid' in of ? of.sid : of.sub;
      if (!isAvailable || broken.has(name)) throw storeUnavailable(new Error('Redis is unreachable'));
      ended.push(name);
      return 1;
    },
    sessionsOf: async () => [],
    endBy: async () => undefined,
  };
  const logouts = createMemoryProviderLogouts(now);
  const backchannelLogout = createBackchannelLogout({ logouts, tokens, absoluteSeconds: 3600, now, log });
  return {
    backchannelLogout,
    ended,
    broken,
    lines,
    setAvailable: (value: boolean) => {
      isAvailable = value;
    },
    advance: (ms: number) => {
      offsetMs += ms;
    },
  };
}

const token = (sid: string) => ({ id: `token of ${sid}`, sid, validUntil });

test('a logout that arrives twice at the same moment is applied once', async () => {
  const { backchannelLogout, ended } = start();
  const outcomes = await Promise.all([1, 2, 3].map(() => backchannelLogout.receive(token('a'))));
  expect([outcomes, ended]).toEqual([[1, 1, 1], ['a']]);
  expect(await backchannelLogout.receive(token('a'))).toBeUndefined();
});

test('a logout that can never be applied does not delay those that are queued after it', async () => {
  const { backchannelLogout, ended, broken, setAvailable } = start();
  setAvailable(false);
  for (let count = 0; count < 16; count += 1) {
    broken.add(`broken ${count}`);
    await expect(backchannelLogout.receive(token(`broken ${count}`))).rejects.toThrow();
  }
  await expect(backchannelLogout.receive(token('a'))).rejects.toThrow();
  setAvailable(true);
  for (const deadline = Date.now() + 10_000; !ended.includes('a') && Date.now() < deadline; ) await delay(20);
  expect(ended).toEqual(['a']);
  await backchannelLogout.drain();
});

test('the queue holds a limited number of logouts, and the log says when one is lost', async () => {
  const { backchannelLogout, lines, ended, setAvailable } = start();
  setAvailable(false);
  const sids = Array.from({ length: 10_001 }, (_, index) => `session ${index}`);
  for (const sid of sids) await backchannelLogout.receive(token(sid)).catch(() => undefined);
  expect(lines.filter((line) => line.includes('too many are queued'))).toHaveLength(1);
  setAvailable(true);
  await backchannelLogout.drain();
  expect([ended.length, ended.includes('session 0'), ended.includes('session 1')]).toEqual([
    10_000,
    false,
    true,
  ]);
});

test('a process that stops while the store is unavailable logs how many logouts are lost', async () => {
  const { backchannelLogout, lines, setAvailable } = start();
  setAvailable(false);
  for (const sid of ['a', 'b']) await backchannelLogout.receive(token(sid)).catch(() => undefined);
  await backchannelLogout.drain();
  expect(lines.join('')).toMatch(/"lost":2,.*queued logouts of the provider are lost/);
});

test('a process that stops when the store is available again applies what is queued', async () => {
  const { backchannelLogout, ended, setAvailable } = start();
  setAvailable(false);
  await backchannelLogout.receive(token('a')).catch(() => undefined);
  setAvailable(true);
  await backchannelLogout.drain();
  expect(ended).toEqual(['a']);
});

test('a logout that is older than any session can be is dropped from the queue', async () => {
  const { backchannelLogout, ended, lines, setAvailable, advance } = start();
  setAvailable(false);
  await backchannelLogout.receive(token('a')).catch(() => undefined);
  advance(3_601_000);
  setAvailable(true);
  await backchannelLogout.drain();
  expect([ended, lines.some((line) => line.includes('are lost'))]).toEqual([[], false]);
});
