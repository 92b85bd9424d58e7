import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Readable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, jest } from '@jest/globals';
import type { Request } from 'express';
import type { Options } from 'express-rate-limit';
import { AppError } from '../../src/errors.ts';
import { createLogger } from '../../src/logger.ts';
import { createRefusalLog } from '../../src/middleware/refusal-log.ts';
import { createRequestLog } from '../../src/middleware/request-log.ts';
import { discardUnreadBodies } from '../../src/middleware/unread-bodies.ts';
import { OAuthError } from '../../src/oauth/oauth-error.ts';
import { createRequestPolicy } from '../../src/oauth/request-policy.ts';
import { readRequestBody } from '../../src/proxy/request-body.ts';
import { createUserTokenSource } from '../../src/session/token-source.ts';
import { createMemoryAppTokenStore } from '../../src/stores/memory/app-token-store.ts';
import { createMemoryRateLimitStore } from '../../src/stores/memory/rate-limit-store.ts';
import { createMemoryRevocationOutbox } from '../../src/stores/memory/revocation-outbox.ts';
import { createMemoryTokenStore } from '../../src/stores/memory/token-store.ts';
import { elapsedMs } from '../../src/time/elapsed.ts';

const hourMs = 3_600_000;
const realNow = Date.now;
let aheadMs = 0;
jest.spyOn(Date, 'now').mockImplementation(() => realNow() + aheadMs);
afterEach(() => {
  aheadMs = 0;
});

/** The clock of this computer is set back, or forward, by an hour. */
const steps = [
  ['back', -hourMs],
  ['forward', hourMs],
] as const;

describe.each(steps)('the time of day is set %s by an hour', (_direction, stepMs) => {
  const step = () => {
    aheadMs += stepMs;
  };

  test('elapsed time does not notice', () => {
    const before = elapsedMs();
    step();
    expect(elapsedMs() - before).toBeGreaterThanOrEqual(0);
    expect(elapsedMs() - before).toBeLessThan(1_000);
  });

  test('a rate limit in memory ends its window in time, and says so', async () => {
    const store = createMemoryRateLimitStore();
    store.init?.({ windowMs: 100 } as Options);
    await store.increment('alice');
    step();
    const second = await store.increment('alice');
    expect(second.totalHits).toBe(2);
    expect(Math.abs(second.resetTime!.getTime() - Date.now())).toBeLessThanOrEqual(100);
    await delay(110);
    expect(await store.increment('alice')).toMatchObject({ totalHits: 1 });
  });

  test('the circuit breaker of a provider sends its probe within a second', async () => {
    const send = createRequestPolicy(elapsedMs);
    const failing = () => Promise.reject(new OAuthError('outcome_unknown', 'status 500'));
    for (const name of ['alice', 'bob', 'carol'])
      await expect(send({ name, isUser: true }, failing)).rejects.toThrow('status 500');
    await expect(send({ name: 'dave', isUser: true }, async () => 'sent')).rejects.toThrow('breaker');
    step();
    await expect(send({ name: 'dave', isUser: true }, async () => 'sent')).rejects.toThrow('breaker');
    await delay(1_010);
    await expect(send({ name: 'dave', isUser: true }, async () => 'sent')).resolves.toBe('sent');
  });

  test('a failed refresh is repeated when its wait is over, and not before', async () => {
    const lifetime = { idleSeconds: 10 * 3600, absoluteSeconds: 20 * 3600 };
    const index = { add: async () => {}, remove: async () => {} };
    const store = createMemoryTokenStore(lifetime, Date.now, { publish: () => {} }, index);
    const tokens = { accessToken: 'a', scope: [], tokenType: 'Bearer', issuedAt: Date.now() };
    await store.put('id', { tokens, user: {}, signedInAt: Date.now(), requested: { scope: [] } } as never);
    const failure = new AppError('temporarily_unavailable', { retryAfterSeconds: 0.2 });
    await expect(store.update('id', () => Promise.reject(failure))).rejects.toBe(failure);
    step();
    const refresh = jest.fn(async (record: object) => record as never);
    await expect(store.update('id', refresh)).rejects.toBe(failure);
    await delay(210);
    await store.update('id', refresh);
    expect(refresh).toHaveBeenCalledTimes(1);
  });

  test('the failure of an app token is over in time', async () => {
    const store = createMemoryAppTokenStore(Date.now);
    const failure = { code: 'temporarily_unavailable', until: elapsedMs() + 100, reason: '' } as const;
    await store.update([], async () => ({ failure }));
    step();
    expect(await store.get([])).toEqual({ failure });
    await delay(110);
    expect(await store.get([])).toEqual({});
  });

  test('a revocation that failed is repeated in time', async () => {
    let attempts = 0;
    const outbox = createMemoryRevocationOutbox(async () => {
      attempts += 1;
      return attempts > 1;
    }, Date.now);
    await outbox.add({ accessToken: 'a', scope: [], tokenType: 'Bearer', issuedAt: 0 } as never);
    await outbox.processNew();
    step();
    for (const end = elapsedMs() + 20_000; (await outbox.pending()) > 0 && elapsedMs() < end; ) {
      await outbox.processDue();
      await delay(20);
    }
    expect(attempts).toBe(2);
    outbox.close();
  });

  test('a slow upload is not cut off, and one that stops is', async () => {
    const abort = jest.fn();
    const req = Object.assign(new Readable({ read() {} }), {
      headers: { 'transfer-encoding': 'chunked' },
      method: 'POST',
    }) as unknown as Request & Readable;
    const upload = await readRequestBody(req, { limitBytes: 1e6, timeoutMs: 300, abort });
    if (!upload || Buffer.isBuffer(upload)) throw new Error('not an upload');
    upload.stream.resume();
    req.push('first');
    await once(upload.stream, 'data');
    step();
    req.push('second');
    await once(upload.stream, 'data');
    expect(abort).not.toHaveBeenCalled();
    for (const end = elapsedMs() + 5_000; abort.mock.calls.length === 0 && elapsedMs() < end; )
      await delay(20);
    expect(abort).toHaveBeenCalledTimes(1);
    req.destroy();
  });

  test('a line of the request log has the time that the request took', async () => {
    const lines: Record<string, unknown>[] = [];
    const log = createLogger('info', { write: (line: string) => void lines.push(JSON.parse(line)) });
    const logRequest = createRequestLog(log);
    const { server, url } = await serve((req, res) => {
      // `logRequest` adds a member to the prototype, and all test files share that of Node.js.
      Object.setPrototypeOf(req, Object.create(Object.getPrototypeOf(req)));
      logRequest(Object.assign(req, { originalUrl: '/' }) as never, res as never, () => {
        step();
        res.end();
      });
    });
    await fetch(url, { headers: { connection: 'close' } });
    server.close();
    await once(server, 'close');
    expect(lines[0]?.responseTime).toBeGreaterThanOrEqual(0);
    expect(lines[0]?.responseTime).toBeLessThan(60_000);
    expect(Number.isInteger(lines[0]?.responseTime)).toBe(true);
  });

  test('the rest of a body after an early response is still read', async () => {
    const { server, url } = await serve((req, res) =>
      discardUnreadBodies(req as never, res as never, () => res.end('early')),
    );
    const body = new ReadableStream({
      async start(controller) {
        controller.enqueue(Buffer.alloc(10));
        await delay(100);
        step();
        await delay(200);
        controller.enqueue(Buffer.alloc(10));
        controller.close();
      },
    });
    const response = await fetch(url, { method: 'POST', body, duplex: 'half' } as RequestInit);
    expect(await response.text()).toBe('early');
    await delay(300);
    expect(await (await fetch(url)).text()).toBe('early');
    server.closeAllConnections();
    server.close();
  });

  test('a limit that refuses many requests has a line in the log when the last one is a minute old, and not before', () => {
    jest.useFakeTimers({ now: realNow(), doNotFake: ['nextTick', 'setImmediate'] });
    try {
      const lines: string[] = [];
      const log = createLogger('info', { write: (line: string) => void lines.push(line) });
      const logRefusal = createRefusalLog(log, {}, 'refused', { increment() {} } as never);
      logRefusal();
      jest.setSystemTime(Date.now() + stepMs);
      logRefusal();
      expect(lines).toHaveLength(1);
      jest.advanceTimersByTime(60_001);
      logRefusal();
      expect(lines).toHaveLength(2);
    } finally {
      jest.useRealTimers();
      jest.spyOn(Date, 'now').mockImplementation(() => realNow() + aheadMs);
    }
  });
});

test.each([
  ['that another instance, whose clock is ahead, has just replaced', 1_000, false],
  ['from before the clock was set back by an hour', hourMs, true],
  ['from half a minute ago', -30_000, true],
])('a token %s, and that the API rejects: replaced again?', (_when, replacedAgoMs, isReplaced) => {
  const tokens = { accessToken: 'a', refreshToken: 'r', scope: [], tokenType: 'Bearer', issuedAt: 0 };
  const record = { tokens, signedInAt: 0, replacedAt: Date.now() + replacedAgoMs } as never;
  const parts = { now: Date.now, tokens: { replaceRefused: async () => undefined } };
  expect(createUserTokenSource(parts, 'id', record).replace !== undefined).toBe(isReplaced);
});

async function serve(
  handler: Parameters<typeof createServer>[1] & object,
): Promise<{ server: Server; url: string }> {
  const server = createServer(handler as never);
  await once(server.listen(0, '127.0.0.1'), 'listening');
  return { server, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/` };
}
