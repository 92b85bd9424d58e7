import { jest } from '@jest/globals';
import { createLogger } from '../../src/logger.ts';
import { createOpenStreams, type OpenStreams } from '../../src/proxy/open-streams.ts';

const log = createLogger('silent');

describe('when a session is looked at', () => {
  const ends = {
    listen(_heard: (id: string) => void, missed: () => void) {
      lookAgain = missed;
    },
  };
  let lookAgain = () => {};
  let looks: string[] = [];
  let answer: () => Promise<number | undefined>;
  let streams: OpenStreams;
  let ended: string[];
  beforeEach(() => {
    jest.useFakeTimers();
    looks = [];
    ended = [];
    answer = async () => Date.now() + 3_600_000;
    const endsAt = (id: string) => {
      looks.push(id);
      return answer();
    };
    streams = createOpenStreams({ sessionEndEvents: ends, endsAt, now: Date.now, log });
  });
  afterEach(() => {
    expect(jest.getTimerCount()).toBe(0); // nothing is left of a session whose streams are over
    jest.useRealTimers();
  });
  const passing = (seconds: number) => jest.advanceTimersByTimeAsync(seconds * 1000);
  const open = (id: string) => streams.register(id, (why) => void ended.push(`${id} ${why}`));

  test('a lost message costs no more than 30 seconds', async () => {
    open('a');
    await passing(20);
    answer = async () => undefined;
    await passing(9.9);
    expect(ended).toEqual([]);
    await passing(0.1);
    expect(ended).toEqual(['a session_ended']);
  });

  test('one timer and one look serve all streams of a session', async () => {
    const forget = Array.from({ length: 1_000 }, () => open('a'));
    expect(looks).toEqual(['a']);
    await passing(1);
    expect(jest.getTimerCount()).toBe(1);
    for (const each of forget) each();
    expect(jest.getTimerCount()).toBe(0);
    await passing(60);
    expect(looks).toEqual(['a']);
    expect(ended).toEqual([]);
  });

  test('a session that is used meanwhile goes on, and so do its streams', async () => {
    let end = Date.now() + 10_000;
    answer = async () => end;
    open('a');
    await passing(9);
    end += 9_000;
    await passing(9);
    expect(ended).toEqual([]);
    await passing(1.1);
    expect(ended).toEqual(['a session_ended']);
  });

  test('a store that is away ends no stream and is asked again soon', async () => {
    answer = () => Promise.reject(new Error('Redis is away'));
    open('a');
    await passing(20);
    expect(ended).toEqual([]);
    expect(looks.length).toBeGreaterThan(5);
    answer = async () => undefined;
    await passing(2);
    expect(ended).toEqual(['a session_ended']);
  });

  test('after messages were missed all sessions with streams are looked at, a few at a time', async () => {
    for (let n = 0; n < 100; n += 1) open(String(n));
    await passing(0.001);
    looks.length = 0;
    const waiting: (() => void)[] = [];
    answer = () => new Promise((resolve) => waiting.push(() => resolve(undefined)));
    lookAgain();
    expect(looks).toHaveLength(16);
    while (waiting.length > 0) {
      waiting.shift()!();
      await passing(0);
    }
    expect(ended).toHaveLength(100);
  });

  test('a stream that was over before is not ended, and one that fails to end keeps no other alive', async () => {
    const forget = open('a');
    streams.register('a', () => {
      throw new Error('it has no end');
    });
    open('a');
    forget();
    answer = async () => undefined;
    await passing(30);
    expect(ended).toEqual(['a session_ended']);
  });

  test('at shutdown every stream ends, those of no session and those that come later too', async () => {
    open('a');
    streams.register(undefined, (why) => void ended.push(`nobody ${why}`));
    expect(looks).toEqual(['a']);
    streams.closeAll();
    expect(ended).toEqual(['a shutdown', 'nobody shutdown']);
    open('b');
    await passing(0);
    expect(ended).toEqual(['a shutdown', 'nobody shutdown', 'b shutdown']);
  });
});
