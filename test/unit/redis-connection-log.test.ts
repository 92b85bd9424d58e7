import { jest } from '@jest/globals';
import { type RedisTarget, readRedisUrl } from '../../src/config/redis-url.ts';
import { createLogger } from '../../src/logger.ts';
import { createConnectionLog } from '../../src/stores/redis/connection-log.ts';
import { nextRetryDelayMs } from '../../src/stores/redis/session-end-events.ts';

let nowMs: number;
let lines: Record<string, unknown>[];
const log = createLogger('trace', { write: (line: string) => void lines.push(JSON.parse(line)) });
beforeEach(() => {
  nowMs = 1_000_000;
  lines = [];
  jest.spyOn(performance, 'now').mockImplementation(() => nowMs);
});
afterEach(() => jest.restoreAllMocks());

const create = (url = 'redis://:hunter2@redis.example.com:6380/1') =>
  createConnectionLog(log, readRedisUrl(url) as RedisTarget);
const withCode = (code: string, message = code, more = {}) =>
  Object.assign(new Error(message), { code, ...more });
const refused = withCode('ECONNREFUSED');

test.each([
  ['WRONGPASS invalid username-password pair or user is disabled.', 'authentication'],
  ['NOAUTH HELLO must be called with the client already authenticated', 'authentication'],
  ['ERR Client sent AUTH, but no password is set', 'authentication'],
  ['ERR invalid password', 'authentication'],
  ['All sentinels are unreachable. Retrying. Last error: WRONGPASS invalid pair', 'authentication'],
  ["NOPERM this user has no permissions to run the 'set' command", 'permission'],
  ['ERR DB index is out of range', 'database'],
  ["READONLY You can't write against a read only replica.", 'readOnly'],
  ['ERR max number of clients reached', 'rejected'],
  ['DENIED Redis is running in protected mode', 'rejected'],
  ['connect ETIMEDOUT', 'unreachable'],
])('%s is reported as %s', (message, reason) => {
  create().failed(new Error(message));
  expect(lines).toEqual([expect.objectContaining({ reason, error: message, level: 'warn' })]);
});

test.each([
  ['DEPTH_ZERO_SELF_SIGNED_CERT', 'tls'],
  ['ERR_TLS_CERT_ALTNAME_INVALID', 'tls'],
  ['CERT_HAS_EXPIRED', 'tls'],
  ['UNABLE_TO_VERIFY_LEAF_SIGNATURE', 'tls'],
  ['ECONNREFUSED', 'unreachable'],
  ['ENOTFOUND', 'unreachable'],
  ['ECONNRESET', 'unreachable'],
])('an error with the code %s is reported as %s', (code, reason) => {
  create().failed(withCode(code));
  expect(lines).toEqual([expect.objectContaining({ reason, code })]);
});

test('a failure names the address: that of REDIS_URL without the password, or the one that was refused', () => {
  const connectionLog = create();
  connectionLog.failed(withCode('ENOTFOUND'));
  connectionLog.failed(withCode('ECONNREFUSED', 'refused', { address: '10.0.0.7', port: 6379 }));
  connectionLog.failed(refused, 'node2:6379');
  create('rediss+sentinel://:hunter2@one:1,[fd00::2]:2/main').failed(refused);
  create('unix://:hunter2@/run/redis.sock').failed(refused);
  expect(lines.map(({ address }) => address)).toEqual([
    'redis.example.com:6380',
    '10.0.0.7:6379',
    'node2:6379',
    'one:1,[fd00::2]:2/main',
    '/run/redis.sock',
  ]);
  expect(JSON.stringify(lines)).not.toMatch(/hunter2|stack/);
});

test('the same failure is logged at once, then after 10, 20, 40 s and so on, at least every five minutes', () => {
  const connectionLog = create();
  const times: number[] = [];
  for (let second = 0; second <= 1_300; second += 1) {
    nowMs = 1_000_000 + second * 1_000;
    const before = lines.length;
    connectionLog.failed(refused);
    if (lines.length > before) times.push(second);
  }
  expect(times).toEqual([0, 10, 30, 70, 150, 310, 610, 910, 1_210]);
  expect(lines[1]).toMatchObject({ skipped: 9 });
});

test('another failure, and one at another address, are logged at once', () => {
  const connectionLog = create();
  connectionLog.failed(refused);
  connectionLog.failed(new Error('WRONGPASS no'));
  connectionLog.failed(refused, 'node2:6379');
  expect(lines).toHaveLength(3);
});

test('a connection that comes and goes does not fill the log; after a minute of stability a loss is logged at once', () => {
  const connectionLog = create();
  for (let i = 0; i < 100; i += 1) {
    nowMs += 50;
    connectionLog.ready();
    nowMs += 50;
    connectionLog.failed(refused);
  }
  expect(lines.filter(({ reason }) => reason)).toHaveLength(1);
  expect(lines.length).toBeLessThan(8);
  connectionLog.ready();
  nowMs += 60_001;
  lines = [];
  connectionLog.failed(refused);
  expect(lines).toHaveLength(1);
  nowMs += 3_000;
  connectionLog.ready();
  expect(lines[1]).toMatchObject({ msg: 'connected to Redis', afterMs: 3_000 });
});

test('hints: TLS that is missing in REDIS_URL or at the server, and a sentinel without this master', () => {
  create().closedEarly();
  create('rediss://redis').closedEarly();
  create('rediss://redis').failed(withCode('ETIMEDOUT'));
  create('redis+sentinel://s/main').failed(new Error('Sentinel responded with invalid reply: null'));
  expect(lines.map(({ hint }) => hint)).toEqual([
    expect.stringContaining('rediss instead of redis'),
    undefined,
    'the server may not use TLS',
    expect.stringContaining('does not monitor a master with the name'),
  ]);
});

test('a name with several addresses that all fail is logged with the text of each', () => {
  const errors = [
    new Error('connect ECONNREFUSED ::1:6379'),
    new Error('connect ECONNREFUSED 127.0.0.1:6379'),
  ];
  create().failed(Object.assign(new AggregateError(errors), { code: 'ECONNREFUSED' }));
  expect(lines[0]).toMatchObject({
    error: 'connect ECONNREFUSED ::1:6379; connect ECONNREFUSED 127.0.0.1:6379',
    reason: 'unreachable',
  });
});

test('subscription attempts are 0.2 s, 0.4 s and so on apart: at most 2 s, without permission at most 300 s', () => {
  const delays = (error: unknown) => {
    const list = [200];
    for (let i = 0; i < 14; i += 1) list.push(nextRetryDelayMs(list.at(-1)!, error));
    return list;
  };
  const capped = delays(new Error('Connection is closed.'));
  expect(capped.slice(0, 5)).toEqual([200, 400, 800, 1_600, 2_000]);
  expect(capped.at(-1)).toBe(2_000);
  const refusedDelays = delays(
    new Error("NOPERM this user has no permissions to run the 'subscribe' command"),
  );
  expect(refusedDelays.slice(0, 5)).toEqual([200, 400, 800, 1_600, 3_200]);
  expect(refusedDelays.at(-1)).toBe(300_000);
  expect(nextRetryDelayMs(300_000, new Error('Connection is closed.'))).toBe(2_000);
});
