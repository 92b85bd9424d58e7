import { cacheRecords } from '../../src/stores/cached-token-store.ts';
import type { TokenRecord, TokenStore } from '../../src/tokens/token-store.ts';

const maxAgeMs = 500;
const record = (accessToken: string, signedInAt = 0): TokenRecord => ({
  tokens: { accessToken, scope: [], tokenType: 'Bearer', issuedAt: 0 } as unknown as TokenRecord['tokens'],
  user: { sub: 'alice', claims: {} } as unknown as TokenRecord['user'],
  signedInAt,
});

/** A store of which the test decides when it answers, and the channel on which other instances announce changes. */
function createCached() {
  const clock = { now: 10_000, confirmedAt: 10_000, timeAheadMs: 0 };
  let stored: TokenRecord | undefined = record('first');
  let reads = 0;
  let hold: Promise<void> | undefined;
  let holdEnd: Promise<void> | undefined;
  let announce: (id: string | undefined) => void = () => {};
  const store = {
    async get() {
      reads += 1;
      const result = stored;
      await hold;
      return result;
    },
    async put(_id, next) {
      stored = next;
    },
    async update(_id, change) {
      const before = stored;
      if (!before) return undefined;
      stored = await change(before, async () => {});
      return stored;
    },
    async take() {
      const before = stored;
      await (hold ?? holdEnd);
      stored = undefined;
      return before;
    },
    endReason: async () => undefined,
    endsAt: async () => undefined,
    drain: async () => {},
  } satisfies TokenStore;
  const cached = cacheRecords(store, {
    changes: {
      watch(onChange) {
        announce = onChange;
      },
      confirmedAt: () => clock.confirmedAt,
    },
    maxAgeMs,
    absoluteEndOf: ({ signedInAt }) => signedInAt + 3_600_000,
    now: () => clock.now + clock.timeAheadMs,
    monotonicNow: () => clock.now,
  });
  return {
    ...{ cached, clock },
    current: async (id = 'id') => (await cached.get(id, { touch: true, cached: true }))?.tokens.accessToken,
    announce: (id?: string) => announce(id),
    setStored(next: TokenRecord | undefined) {
      stored = next;
    },
    /** Makes the store answer only after the function returned is called. */
    holdAnswers(): () => void {
      let release = () => {};
      hold = new Promise((resolve) => {
        release = resolve;
      });
      return () => {
        hold = undefined;
        release();
      };
    },
    /** Makes the end of a session take until the function returned is called. */
    delayEnd(): () => void {
      let release = () => {};
      holdEnd = new Promise((resolve) => {
        release = resolve;
      });
      return release;
    },
    get reads() {
      return reads;
    },
  };
}

test('a record that was read a moment ago is not read again', async () => {
  const session = createCached();
  for (let each = 0; each < 5; each += 1) expect(await session.current()).toBe('first');
  expect(session.reads).toBe(1);
});

test('whatever happens to announcements, a record is used for at most half a second after it was requested', async () => {
  const session = createCached();
  await session.current();
  session.setStored(undefined);
  session.clock.now += maxAgeMs - 1;
  session.clock.confirmedAt = session.clock.now;
  expect(await session.current()).toBe('first');
  session.clock.now += 1;
  session.clock.confirmedAt = session.clock.now;
  expect(await session.current()).toBeUndefined();
});

test('the age counts from the request, not from the answer', async () => {
  const session = createCached();
  const answer = session.holdAnswers();
  const reading = session.current();
  session.clock.now += maxAgeMs;
  session.clock.confirmedAt = session.clock.now;
  answer();
  await reading;
  await session.current();
  expect(session.reads).toBe(2);
});

test.each([
  ['a suspended computer has continued, whose monotonic clock stood still', maxAgeMs],
  ['the time was set back', -maxAgeMs],
])('a record is read again when %s', async (_what, aheadMs) => {
  const session = createCached();
  await session.current();
  session.clock.timeAheadMs = aheadMs + Math.sign(-aheadMs);
  await session.current();
  expect(session.reads).toBe(1);
  session.clock.timeAheadMs = aheadMs;
  await session.current();
  expect(session.reads).toBe(2);
});

test.each([
  ['of this session', 'id'],
  ['that could not be received', undefined],
])('an announcement %s makes the next request read it', async (_what, id) => {
  const session = createCached();
  await session.current();
  session.setStored(record('second'));
  session.announce(id);
  expect(await session.current()).toBe('second');
});

test('an announcement of another session changes nothing', async () => {
  const session = createCached();
  await session.current();
  session.announce('another');
  await session.current();
  expect(session.reads).toBe(1);
});

test('while it is unknown whether announcements arrive, every request reads the record', async () => {
  const session = createCached();
  await session.current();
  session.clock.now += 250;
  await session.current();
  await session.current();
  expect(session.reads).toBe(3);
});

test('a record that was read while a change was announced is not kept, because it may be the older one', async () => {
  const session = createCached();
  const answer = session.holdAnswers();
  const reading = session.current();
  session.announce('id');
  session.setStored(record('second'));
  answer();
  expect(await reading).toBe('first');
  expect(await session.current()).toBe('second');
});

test('while a session is being ended, its record is read, and what was read meanwhile is not kept', async () => {
  const session = createCached();
  await session.current();
  const answer = session.holdAnswers();
  const ending = session.cached.take('id', { kind: 'signed_out' });
  const during = [session.current(), session.current()];
  expect(session.reads).toBe(3);
  answer();
  await Promise.all([ending, ...during]);
  expect(await session.current()).toBeUndefined();
});

test('while a session is being ended, every request reads its record, however many are answered before the end', async () => {
  const session = createCached();
  const finish = session.delayEnd();
  const ending = session.cached.take('id', { kind: 'signed_out' });
  for (let each = 1; each <= 3; each += 1) {
    expect(await session.current()).toBe('first');
    expect(session.reads).toBe(each);
  }
  finish();
  await ending;
  expect(await session.current()).toBeUndefined();
});

test('while a session is being refreshed, and after that, its record is read', async () => {
  const session = createCached();
  await session.current();
  await session.cached.update('id', async () => {
    expect(await session.current()).toBe('first');
    return record('second');
  });
  expect(session.reads).toBe(2);
  expect(await session.current()).toBe('second');
});

test('a session past its absolute limit is not returned', async () => {
  const session = createCached();
  await session.current();
  session.setStored(undefined);
  session.clock.now += 3_600_000;
  session.clock.confirmedAt = session.clock.now;
  expect(await session.current()).toBeUndefined();
});

test('who does not ask for a recent record gets the newest one', async () => {
  const session = createCached();
  await session.current();
  session.setStored(record('second'));
  expect((await session.cached.get('id', { touch: true }))?.tokens.accessToken).toBe('second');
  expect((await session.cached.get('id'))?.tokens.accessToken).toBe('second');
});

test('with a maximum age of 0, every request reads the record', async () => {
  let reads = 0;
  const get = async () => {
    reads += 1;
    return record('first');
  };
  const cached = cacheRecords({ get } as unknown as TokenStore, {
    changes: { watch: () => {}, confirmedAt: () => 0 },
    ...{ maxAgeMs: 0, absoluteEndOf: () => 1, now: () => 0, monotonicNow: () => 0 },
  });
  for (let each = 0; each < 3; each += 1) await cached.get('id', { cached: true });
  expect(reads).toBe(3);
});

test('however many sessions are in use, few records are kept', async () => {
  const session = createCached();
  for (let n = 0; n < 6_000; n += 1) await session.current(`id ${n}`);
  const before = session.reads;
  await session.current('id 0');
  expect(session.reads).toBe(before + 1);
  await session.current('id 5999');
  expect(session.reads).toBe(before + 1);
});
