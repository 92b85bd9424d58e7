import { jest } from '@jest/globals';
import { createLogger } from '../../src/logger.ts';
import { createOpenStreams, type OpenStreams } from '../../src/proxy/open-streams.ts';

const log = createLogger('silent');
const limits = {
  streams: 10,
  streamsPerAddress: 6,
  streamsPerUser: 4,
  streamsPerSession: 2,
  upstreamConnections: 3,
  upstreamConnectionsPerUser: 2,
  upstreamConnectionsPerAddress: 2,
};

describe('open streams', () => {
  const sessionEndEvents = {
    listen(_onEnd: (id: string) => void, onMissed: () => void) {
      recheckAll = onMissed;
    },
  };
  let recheckAll = () => {};
  let lookups: string[] = [];
  let lookUp: () => Promise<number | undefined>;
  let streams: OpenStreams;
  let closed: string[];
  beforeEach(() => {
    jest.useFakeTimers();
    lookups = [];
    closed = [];
    lookUp = async () => Date.now() + 3_600_000;
    const endsAt = (id: string) => {
      lookups.push(id);
      return lookUp();
    };
    streams = createOpenStreams({ sessionEndEvents, endsAt, now: Date.now, log, limits });
  });
  afterEach(() => {
    expect(jest.getTimerCount()).toBe(0); // closed streams leave no timers
    jest.useRealTimers();
  });
  const advance = (seconds: number) => jest.advanceTimersByTimeAsync(seconds * 1000);
  const open = (id: string) => streams.register(id, (reason) => void closed.push(`${id} ${reason}`));

  test('close within 30 seconds of the end of their session, even if its event was lost', async () => {
    open('a');
    await advance(20);
    lookUp = async () => undefined;
    await advance(9.9);
    expect(closed).toEqual([]);
    await advance(0.1);
    expect(closed).toEqual(['a session_ended']);
  });

  test('of one session share one timer and one lookup', async () => {
    const unregister = Array.from({ length: 1_000 }, () => open('a'));
    expect(lookups).toEqual(['a']);
    await advance(1);
    expect(jest.getTimerCount()).toBe(1);
    for (const each of unregister) each();
    expect(jest.getTimerCount()).toBe(0);
    await advance(60);
    expect(lookups).toEqual(['a']);
    expect(closed).toEqual([]);
  });

  test('stay open when their session is extended', async () => {
    let end = Date.now() + 10_000;
    lookUp = async () => end;
    open('a');
    await advance(9);
    end += 9_000;
    await advance(9);
    expect(closed).toEqual([]);
    await advance(1.1);
    expect(closed).toEqual(['a session_ended']);
  });

  test('stay open while the store is unavailable, and the store is checked again soon', async () => {
    lookUp = () => Promise.reject(new Error('Redis is unreachable'));
    open('a');
    await advance(20);
    expect(closed).toEqual([]);
    expect(lookups.length).toBeGreaterThan(5);
    lookUp = async () => undefined;
    await advance(2);
    expect(closed).toEqual(['a session_ended']);
  });

  test('are all rechecked, a few sessions at a time, after events were missed', async () => {
    for (let n = 0; n < 100; n += 1) open(String(n));
    await advance(0.001);
    lookups.length = 0;
    const pending: (() => void)[] = [];
    lookUp = () => new Promise((resolve) => pending.push(() => resolve(undefined)));
    recheckAll();
    expect(lookups).toHaveLength(16);
    while (pending.length > 0) {
      pending.shift()!();
      await advance(0);
    }
    expect(closed).toHaveLength(100);
  });

  test('close even if another stream of the session fails to close, and are never closed twice', async () => {
    const unregister = open('a');
    streams.register('a', () => {
      throw new Error('it cannot be closed');
    });
    open('a');
    unregister();
    lookUp = async () => undefined;
    await advance(30);
    expect(closed).toEqual(['a session_ended']);
  });

  test('all close at shutdown, also those without a session and those opened later', async () => {
    open('a');
    streams.register(undefined, (reason) => void closed.push(`no session ${reason}`));
    expect(lookups).toEqual(['a']);
    streams.closeAll();
    expect(closed).toEqual(['a shutdown', 'no session shutdown']);
    open('b');
    await advance(0);
    expect(closed).toEqual(['a shutdown', 'no session shutdown', 'b shutdown']);
  });
});

describe('the limits of open streams', () => {
  const owner = (sessionId: string | undefined, userId: string | undefined, address: string) => ({
    ...{ sessionId, userId, address },
  });
  let streams: OpenStreams;
  beforeEach(() => {
    const sessionEndEvents = { listen() {} };
    streams = createOpenStreams({
      ...{ sessionEndEvents, now: Date.now, log, limits },
      endsAt: async () => Date.now(),
    });
  });
  const expectRefused = (open: () => unknown, limit: string) =>
    expect(open).toThrow(
      expect.objectContaining({ code: 'too_many_requests', limit, retryAfterSeconds: 10 }),
    );

  test('count per session, per user, per address and in total, and name the setting', () => {
    const reserve = (session: string, user: string, address: string) =>
      streams.reserve(owner(session, user, address));
    reserve('a1', 'alice', '192.0.2.1');
    reserve('a1', 'alice', '192.0.2.1');
    expectRefused(() => reserve('a1', 'alice', '192.0.2.1'), 'MAX_STREAMS_PER_SESSION');
    reserve('a2', 'alice', '192.0.2.1');
    reserve('a3', 'alice', '192.0.2.1');
    expectRefused(() => reserve('a4', 'alice', '198.51.100.9'), 'MAX_STREAMS_PER_USER');
    reserve('b1', 'bob', '192.0.2.1');
    reserve('b1', 'bob', '192.0.2.1');
    expectRefused(() => reserve('c1', 'carol', '192.0.2.1'), 'MAX_STREAMS_PER_ADDRESS');
    for (const n of [1, 2, 3, 4]) reserve(`d${n}`, `dave${n}`, `198.51.100.${n}`);
    expectRefused(() => reserve('e', 'erin', '203.0.113.1'), 'MAX_STREAMS');
  });

  test('have room again when a stream ends, once for each', () => {
    const release = streams.reserve(owner('a', 'alice', '192.0.2.1'));
    streams.reserve(owner('a', 'alice', '192.0.2.1'));
    release();
    release();
    streams.reserve(owner('a', 'alice', '192.0.2.1'));
    expectRefused(() => streams.reserve(owner('a', 'alice', '192.0.2.1')), 'MAX_STREAMS_PER_SESSION');
  });

  test('count strangers per address only, and a refused stream does not count', () => {
    for (let n = 0; n < 6; n += 1) streams.reserve(owner(undefined, undefined, '192.0.2.1'));
    for (let n = 0; n < 20; n += 1)
      expectRefused(() => streams.reserve(owner('a', 'alice', '192.0.2.1')), 'MAX_STREAMS_PER_ADDRESS');
    streams.reserve(owner('a', 'alice', '192.0.2.2'));
  });

  test.each([
    ['one address with several ports', (n: number) => `192.0.2.1:${40_000 + n}`],
    ['one IPv6 address with several ports', (n: number) => `[2001:db8::1]:${40_000 + n}`],
    ['several addresses of one IPv6 network', (n: number) => `2001:db8:0:${n}::1`],
    ['an IPv4 address, also mapped to IPv6', (n: number) => (n % 2 ? '192.0.2.1' : '::ffff:192.0.2.1')],
    ['values that are no addresses', (n: number) => `garbage${n}`],
  ])('count %s as one', (_what, addressOf) => {
    for (let n = 0; n < 6; n += 1) streams.reserve(owner(undefined, undefined, addressOf(n)));
    expectRefused(
      () => streams.reserve(owner(undefined, undefined, addressOf(6))),
      'MAX_STREAMS_PER_ADDRESS',
    );
  });
});
