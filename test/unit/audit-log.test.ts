import { mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { jest } from '@jest/globals';
import type { AuditLine } from '../../src/audit/audit-events.ts';
import { createAuditLog } from '../../src/audit/audit-log.ts';
import { loadConfig } from '../../src/config/load.ts';
import { createLogger } from '../../src/logger.ts';
import { runInRequest } from '../../src/request-context.ts';
import { waitFor } from '../support/redis-topologies.ts';

const required = {
  OAUTH2_ISSUER: 'https://id.example.com',
  OAUTH2_CLIENT_ID: 'a-client',
  OAUTH2_CLIENT_SECRET: 'a-client-secret',
  OAUTH2_REDIRECT_URI: 'http://localhost:3000/auth/callback',
  OAUTH2_API_BASE_URL: 'https://api.example.com',
  SESSION_SECRET: 'a-secret-for-tests-that-is-long-enough',
};
let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'audit-'));
});
afterEach(() => {
  jest.useRealTimers();
  rmSync(folder, { recursive: true, force: true });
});

function create(env: Readonly<Record<string, string>> = {}) {
  const logLines: string[] = [];
  const log = createLogger(env.LOG_LEVEL ?? 'info', { write: (line: string) => void logLines.push(line) });
  const audit = createAuditLog(loadConfig({ ...required, ...env }), { now: Date.now, log });
  return {
    audit,
    logLines,
    logged: () =>
      logLines.map((line) => JSON.parse(line)).filter(({ msg }) => msg === 'audit') as AuditLine[],
  };
}
const linesOf = (path: string) => readFileSync(path, 'utf8').split('\n').slice(0, -1);
const request = (userAgent: string, address = '192.0.2.1') => ({ requestId: 'an-id', address, userAgent });

describe('what clients and providers can put into a line', () => {
  test.each([
    ['a line break', 'a\nb\r\n{"event":"login_succeeded"}'],
    ['a terminal sequence', 'a\u001b[2J\u009b31m'],
    ['a change of text direction', 'a\u202e\u2066b'],
    ['a line separator', 'a\u2028b\u2029'],
    ['half of a surrogate pair', 'a\ud800'],
  ])('%s in a user agent is replaced, and the event has one line', (_what, userAgent) => {
    const path = join(folder, 'audit.log');
    const { audit } = create({ AUDIT_LOG: path });
    runInRequest(request(userAgent), () => audit.record('login_started', {}));
    return audit.close().then(() => {
      const [line, ...rest] = linesOf(path);
      expect(rest).toEqual([]);
      expect(JSON.parse(line!).user_agent).toMatch(/^a[\ufffdb[{}":\w]+$/);
      expect(line).not.toMatch(/[\p{C}\u2028\u2029]/u);
    });
  });

  test('a user agent of a megabyte is cut to 256 characters', () => {
    const { audit, logged } = create();
    runInRequest(request('x'.repeat(1_000_000)), () => audit.record('login_started', {}));
    expect(logged()[0]!.user_agent).toHaveLength(256);
  });

  test('a subject that is too long or has control characters appears as its hash, so that no two users have one name', () => {
    const { audit, logged } = create();
    const subjects = ['x'.repeat(300), `${'x'.repeat(299)}y`, 'a\nb', 'a\rb', 'a b'];
    for (const sub of subjects) audit.record('signed_out', { sub });
    const names = logged().map(({ subject }) => subject);
    expect(new Set(names).size).toBe(subjects.length);
    expect(names.slice(0, 4)).toEqual(
      names.slice(0, 4).map(() => expect.stringMatching(/^sha256:[\w-]{43}$/)),
    );
    expect(names[4]).toBe('a b');
  });
});

test.each([
  ['plain', 'alice'],
  ['hashed', expect.stringMatching(/^[\w-]{22}$/)],
  ['none', null],
])('with AUDIT_SUBJECT=%s the subject is %s', (AUDIT_SUBJECT, subject) => {
  const { audit, logged, logLines } = create({ AUDIT_SUBJECT });
  audit.record('signed_out', { sub: 'alice', sessionId: 'a-session-id' });
  expect(logged()).toEqual([
    expect.objectContaining({ subject, session: expect.stringMatching(/^[\w-]{16}$/) }),
  ]);
  expect(logLines.join('').includes('alice')).toBe(AUDIT_SUBJECT === 'plain');
});

test.each(['silent', 'fatal', 'warn'])('with LOG_LEVEL=%s the log has the audit lines', (LOG_LEVEL) => {
  const { audit, logged } = create({ LOG_LEVEL });
  audit.record('signed_out', {});
  expect(logged()).toHaveLength(1);
});

describe('with AUDIT_LOG as a file', () => {
  test('it has one JSON object for each event, in their order, and only its owner can read it', async () => {
    const path = join(folder, 'audit.log');
    const { audit, logLines } = create({ AUDIT_LOG: path });
    for (let index = 0; index < 500; index += 1) audit.record('signed_out', { sub: `user ${index}` });
    await audit.close();
    expect(linesOf(path).map((line) => JSON.parse(line).subject)).toEqual(
      Array.from({ length: 500 }, (_, index) => `user ${index}`),
    );
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(logLines).toEqual([]);
  });

  test('after it was renamed and reopened, lines go to a new file, and none is lost', async () => {
    const path = join(folder, 'audit.log');
    const { audit } = create({ AUDIT_LOG: path });
    audit.record('signed_out', { sub: 'before' });
    await audit.close();
    audit.record('signed_out', { sub: 'before too' });
    await waitFor(() => linesOf(path).length === 2);
    renameSync(path, `${path}.1`);
    audit.reopen();
    audit.record('signed_out', { sub: 'after' });
    await audit.close();
    expect(linesOf(`${path}.1`).map((line) => JSON.parse(line).subject)).toEqual(['before', 'before too']);
    expect(linesOf(path).map((line) => JSON.parse(line).subject)).toEqual(['after']);
  });

  test('on a full disk every line is in the log instead, with one error', async () => {
    const { audit, logged, logLines } = create({ AUDIT_LOG: '/dev/full', LOG_LEVEL: 'error' });
    for (let index = 0; index < 20; index += 1) {
      audit.record('signed_out', { sub: `user ${index}` });
      await audit.close();
    }
    expect(logged()).toHaveLength(20);
    expect(logLines.filter((line) => line.includes('cannot write the audit log'))).toHaveLength(1);
  });

  test('a folder that disappears and returns loses no line', async () => {
    const path = join(folder, 'sub', 'audit.log');
    mkdirSync(join(folder, 'sub'));
    const { audit, logged } = create({ AUDIT_LOG: path });
    rmSync(join(folder, 'sub'), { recursive: true });
    audit.record('signed_out', { sub: 'one' });
    await audit.close();
    mkdirSync(join(folder, 'sub'));
    audit.record('signed_out', { sub: 'two' });
    await audit.close();
    expect(logged().map(({ subject }) => subject)).toEqual(['one']);
    expect(
      linesOf(path)
        .filter((line) => line !== '')
        .map((line) => JSON.parse(line).subject),
    ).toEqual(['two']);
  });

  test.each([
    ['in a folder that does not exist', (path: string) => join(path, 'missing', 'audit.log')],
    ['that is a folder', (path: string) => path],
    ['in a file', (path: string) => join(path, 'file', 'audit.log')],
  ])('a file %s is a configuration error', (_what, pathIn) => {
    writeFileSync(join(folder, 'file'), '');
    expect(() => create({ AUDIT_LOG: pathIn(folder) })).toThrow(
      /AUDIT_LOG names a file that cannot be opened/,
    );
  });

  test.each(['audit.log', './audit.log', 'file', 'syslog', '../x'])(
    'AUDIT_LOG=%s is invalid',
    (AUDIT_LOG) => {
      expect(() => create({ AUDIT_LOG })).toThrow(
        /AUDIT_LOG must be log, stdout, none, or the absolute path/,
      );
    },
  );
});

describe('events that strangers cause without end', () => {
  const refuse = (audit: ReturnType<typeof create>['audit'], address: string) =>
    runInRequest(request('x', address), () =>
      audit.record('request_rejected', { reason: 'cross_site_request' }),
    );

  test('have 60 lines a minute for one network, then one line with their number', () => {
    jest.useFakeTimers();
    const { audit, logged } = create();
    for (let index = 0; index < 10_000; index += 1)
      refuse(audit, `2001:db8::${(index % 9_000).toString(16)}`);
    refuse(audit, '192.0.2.1');
    expect(logged()).toHaveLength(61);
    jest.advanceTimersByTime(60_000);
    expect(logged()).toHaveLength(62);
    expect(logged().at(-1)).toMatchObject({
      count: 9_940,
      reason: 'cross_site_request',
      address: '2001:db8::/56',
    });
    refuse(audit, '2001:db8::1');
    expect(logged()).toHaveLength(63);
  });

  test('from any number of networks have 3,000 lines and 1,000 summaries a minute, and none is forgotten', () => {
    jest.useFakeTimers();
    const { audit, logged } = create();
    for (let index = 0; index < 20_000; index += 1)
      refuse(audit, `10.${index >> 16}.${(index >> 8) & 255}.${index & 255}`);
    jest.advanceTimersByTime(60_000);
    expect(logged().length).toBeLessThanOrEqual(4_001);
    expect(logged().reduce((sum, { count }) => sum + Number(count), 0)).toBe(20_000);
  });

  test('do not keep refusals that concern a user out of the log', () => {
    const { audit, logged } = create();
    for (let index = 0; index < 100_000; index += 1)
      refuse(audit, `10.0.${(index >> 8) & 255}.${index & 255}`);
    audit.record('token_refresh_rejected', { sub: 'alice', reason: 'invalid_response' });
    expect(logged().at(-1)).toMatchObject({ event: 'token_refresh_rejected', subject: 'alice' });
  });

  test('are counted in the last lines when the process stops within the minute', async () => {
    const { audit, logged } = create();
    for (let index = 0; index < 100; index += 1) refuse(audit, '192.0.2.1');
    await audit.close();
    expect(logged().at(-1)).toMatchObject({ count: 40 });
  });
});
