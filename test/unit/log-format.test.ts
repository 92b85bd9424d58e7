import { createLogger } from '../../src/logger.ts';
import { runInRequest } from '../../src/request-context.ts';

function logTo(format: 'json' | 'pretty', level = 'trace') {
  const lines: string[] = [];
  return { log: createLogger(level, { write: (line: string) => void lines.push(line) }, format), lines };
}
const context = { requestId: 'an-id', address: undefined, userAgent: undefined };

describe('LOG_FORMAT=json', () => {
  test('a line has the time in ISO 8601 and the name of its level', () => {
    const { log, lines } = logTo('json');
    log.warn({ limit: 'x' }, 'a message');
    const { time, ...rest } = JSON.parse(lines[0]!);
    expect(new Date(time).toISOString()).toBe(time);
    expect(rest).toEqual({ level: 'warn', limit: 'x', msg: 'a message' });
  });

  test('a line that is written for a request has its id once, also from a logger that knows it, and later', async () => {
    const { log, lines } = logTo('json');
    const work = new Promise<void>((resolve) => {
      runInRequest(context, async () => {
        log.info('at once');
        log.child({ reqId: 'an-id' }).child({ other: 1 }).info('from the logger of the request');
        await new Promise((done) => setImmediate(done));
        log.info('later');
        resolve();
      });
    });
    log.info('outside');
    await work;
    const ids = lines.map((line) => [JSON.parse(line).msg, line.match(/"reqId":"an-id"/g)?.length ?? 0]);
    expect(Object.fromEntries(ids)).toEqual({
      ...{ 'at once': 1, 'from the logger of the request': 1, later: 1, outside: 0 },
    });
  });
});

describe('LOG_FORMAT=pretty', () => {
  test('a line has time, level, message and fields', () => {
    const { log, lines } = logTo('pretty');
    log.info({ session: 'a-tag', text: 'two words', nothing: null }, 'tokens refreshed');
    expect(lines).toEqual([
      expect.stringMatching(
        /^\d\d:\d\d:\d\d\.\d{3} INFO {2}tokens refreshed session=a-tag text="two words"\n$/,
      ),
    ]);
  });

  test('a request has one line with method, path, status and time', () => {
    const { log, lines } = logTo('pretty');
    log.info({ method: 'GET', path: '/x', status: 403, responseTime: 4 }, 'request completed');
    expect(lines[0]).toContain('INFO  request completed GET /x 403 4ms\n');
  });

  test('an error below level error has its messages and no stack trace, and one at level error has it', () => {
    const { log, lines } = logTo('pretty');
    const err = new Error('outer', { cause: new Error('inner') });
    log.warn({ err }, 'failed');
    log.error({ err }, 'failed');
    expect(lines[0]).toMatch(/WARN {2}failed \(outer \(inner\)\)\n$/);
    expect(lines[1]).toMatch(/ERROR failed \(outer \(inner\)\)\n.*\n {4}at /);
  });

  test.each(['a\nb', 'a\u001b[2J', 'a\u009b', 'a\u202e', '\u2028'])(
    'text of a stranger (%j) changes neither the line nor the terminal, in a value, a path or an error',
    (text) => {
      const { log, lines } = logTo('pretty');
      log.info({ field: text, method: 'GET', path: text, status: 200, responseTime: 1 }, text);
      log.warn({ err: new Error(text), [text]: text }, 'failed');
      for (const line of lines) expect(line.slice(0, -1)).not.toMatch(/[\p{C}\u2028\u2029]/u);
    },
  );
});
