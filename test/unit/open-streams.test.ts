import { jest } from '@jest/globals';
import { createLogger } from '../../src/logger.ts';
import { createOpenStreams, type OpenStreams } from '../../src/proxy/open-streams.ts';

const log = createLogger('silent');

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
    streams = createOpenStreams({ sessionEndEvents, endsAt, now: Date.now, log });
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
