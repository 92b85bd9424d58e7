import { OAuthError } from '../../src/oauth/oauth-error.ts';
import {
  createRequestPolicy as createPolicyForCallers,
  type RequestPolicy,
} from '../../src/oauth/request-policy.ts';

/** A policy whose callers are users, unless their names begin with `session`. */
function createRequestPolicy(now: () => number) {
  const execute: RequestPolicy = createPolicyForCallers(now);
  return <T>(name: string, request: () => Promise<T>) =>
    execute({ name, isUser: !name.startsWith('session') }, request);
}

const down = (kind: OAuthError['kind'] = 'outcome_unknown', retryAfterSeconds?: number) =>
  new OAuthError(kind, 'down', { retryAfterSeconds });
const unreachable = () => new OAuthError('unavailable', 'down', { isUnreachable: true });
const outcome = (promise: Promise<unknown>) =>
  promise.then(
    () => 'succeeded',
    (error: OAuthError) => error.message,
  );
const isOpen = 'request to the authorization server skipped: circuit breaker is open';

/** A policy on a clock that the test moves, and what each caller's requests get. */
function createPolicy() {
  const clock = { now: 1_000_000 };
  const send = createRequestPolicy(() => clock.now);
  const attempts: string[] = [];
  const failing = new Map<string, () => OAuthError>();
  const call = (caller: string) =>
    outcome(
      send(caller, async () => {
        attempts.push(caller);
        const fail = failing.get(caller) ?? failing.get('everyone');
        if (fail) throw fail();
        return 'succeeded';
      }),
    );
  return { clock, attempts, failing, call };
}

test('responses and OAuth errors are passed through', async () => {
  const send = createRequestPolicy(Date.now);
  await expect(send('alice', async () => 'yes')).resolves.toBe('yes');
  for (let each = 0; each < 20; each += 1)
    await expect(
      send(`user ${each}`, () => Promise.reject(new OAuthError('invalid_grant', 'no'))),
    ).rejects.toMatchObject({ kind: 'invalid_grant' });
  await expect(send('bob', async () => 'still')).resolves.toBe('still');
});

test('a request that was not processed is retried twice; one that may have been processed is not', async () => {
  const send = createRequestPolicy(Date.now);
  let attempts = 0;
  const failWith = (kind: OAuthError['kind']) => async () => {
    attempts += 1;
    throw down(kind);
  };
  await outcome(send('alice', failWith('unavailable')));
  expect(attempts).toBe(3);
  await outcome(send('alice', failWith('outcome_unknown')));
  expect(attempts).toBe(4);
  let retried = 0;
  const succeedOnRetry = async () => {
    retried += 1;
    if (retried === 1) throw down('unavailable');
    return 'succeeded';
  };
  await expect(send('alice', succeedOnRetry)).resolves.toBe('succeeded');
});

test.each([
  ['500 or no response', () => down()],
  ['503', () => down('unavailable')],
  ['429 with Retry-After', () => down('unavailable', 300)],
])("%s to 50 refreshes of one user delays no other user's refresh", async (_what, error) => {
  const { call, failing } = createPolicy();
  failing.set('mallory', error);
  const outcomes = await Promise.all(Array.from({ length: 50 }, () => call('mallory')));
  expect(outcomes).toEqual(Array(50).fill('down'));
  expect(await call('alice')).toBe('succeeded');
});

test.each([
  ['500 or no response', () => down(), 3],
  ['429 with Retry-After', () => down('unavailable', 300), 3],
  ['503', () => down('unavailable'), 7],
])(
  'after %s to three users in a row nothing is sent until a probe, which follows within a second',
  async (_what, error, sent) => {
    const { call, failing, attempts, clock } = createPolicy();
    failing.set('everyone', error);
    for (const caller of ['alice', 'bob', 'carol']) await call(caller);
    for (let each = 0; each < 100; each += 1) expect(await call(`user ${each}`)).toBe(isOpen);
    expect(attempts).toHaveLength(sent);
    failing.clear();
    clock.now += 1_000;
    expect(await call('dave')).toBe('succeeded');
    const outcomes = await Promise.all(Array.from({ length: 50 }, (_, each) => call(`user ${each}`)));
    expect(outcomes).toEqual(Array(50).fill('succeeded'));
  },
);

test('while the circuit breaker is open, one request every two seconds is sent, once, and never by who has just failed', async () => {
  const { call, failing, attempts, clock } = createPolicy();
  failing.set('everyone', () => down('unavailable'));
  for (const caller of ['alice', 'bob', 'carol']) await call(caller);
  attempts.length = 0;
  for (let second = 0; second < 10; second += 1) {
    clock.now += 1_000;
    for (const caller of ['alice', 'bob', 'carol', `user ${second}`, `other ${second}`]) await call(caller);
    if (second === 3) expect(attempts.filter((each) => /alice|bob|carol/.test(each))).toEqual([]);
  }
  expect(attempts.length).toBeGreaterThanOrEqual(5);
  expect(attempts.length).toBeLessThanOrEqual(10);
});

test('ten sessions of unknown users open the circuit breaker, and nine do not, because they may all be of one user', async () => {
  const { call, failing } = createPolicy();
  failing.set('everyone', () => down('unavailable', 300));
  for (let each = 0; each < 9; each += 1) expect(await call(`session ${each}`)).toBe('down');
  expect(await call('session 9')).toBe('down');
  expect(await call('alice')).toBe(isOpen);
});

test('three calls that cannot connect open the circuit breaker, even if one user makes them all', async () => {
  const { call, failing, attempts, clock } = createPolicy();
  failing.set('everyone', unreachable);
  for (let each = 0; each < 3; each += 1) expect(await call('alice')).toBe('down');
  expect(attempts).toHaveLength(7);
  expect(await call('bob')).toBe(isOpen);
  failing.clear();
  clock.now += 1_000;
  expect(await call('alice')).toBe('succeeded');
});

test('a success or a rejection between the failures of several users keeps the circuit breaker closed', async () => {
  const { call, failing } = createPolicy();
  failing.set('everyone', () => down());
  failing.set('alice', () => new OAuthError('invalid_grant', 'no'));
  for (let each = 0; each < 20; each += 1) {
    await call(`user ${each}`);
    await call(`another ${each}`);
    expect(await call('alice')).toBe('no');
  }
});

describe('the request queue', () => {
  function createSlowRequests(send: ReturnType<typeof createRequestPolicy>) {
    const running = new Map<string, number>();
    const peaks = new Map<string, number>();
    const change = (key: string, by: number) => {
      running.set(key, (running.get(key) ?? 0) + by);
      peaks.set(key, Math.max(peaks.get(key) ?? 0, running.get(key)!));
    };
    const call = (caller: string, until: Promise<unknown>) =>
      outcome(
        send(caller, async () => {
          for (const key of [caller, 'all']) change(key, 1);
          await until;
          for (const key of [caller, 'all']) change(key, -1);
        }),
      );
    return { call, peaks };
  }

  test('at most ten requests run concurrently, and the others are queued', async () => {
    const { call, peaks } = createSlowRequests(createRequestPolicy(Date.now));
    const soon = () => new Promise((resolve) => setTimeout(resolve, 2));
    const outcomes = await Promise.all(
      Array.from({ length: 300 }, (_, each) => call(`user ${each}`, soon())),
    );
    expect(outcomes).toEqual(Array(300).fill('succeeded'));
    expect(peaks.get('all')).toBe(10);
  });

  test("50 refreshes of one user that get no response delay no other user's refresh", async () => {
    const { call, peaks } = createSlowRequests(createRequestPolicy(Date.now));
    let release = () => {};
    const released = new Promise<void>((resolve) => {
      release = resolve;
    });
    const stuck = Array.from({ length: 50 }, () => call('mallory', released));
    expect(await call('alice', Promise.resolve())).toBe('succeeded');
    expect(peaks.get('mallory')).toBe(3);
    release();
    expect(await Promise.all(stuck)).toEqual(Array(50).fill('succeeded'));
  });

  test('requests that get no response make room for others after two seconds', async () => {
    const { call, peaks } = createSlowRequests(createRequestPolicy(Date.now));
    for (let each = 0; each < 10; each += 1) void call(`session ${each}`, new Promise(() => {}));
    expect(await call('alice', Promise.resolve())).toBe('succeeded');
    expect(peaks.get('all')).toBe(11);
  });

  test('one user cannot fill the queue', async () => {
    const { call } = createSlowRequests(createRequestPolicy(Date.now));
    let release = () => {};
    const released = new Promise<void>((resolve) => {
      release = resolve;
    });
    const calls = Array.from({ length: 150 }, () => call('mallory', released));
    expect(await calls[149]).toBe('request to the authorization server skipped: request queue is full');
    expect(await call('alice', Promise.resolve())).toBe('succeeded');
    release();
    await Promise.all(calls);
  });
});

test('a probe that ends without an outcome does not keep the circuit breaker open', async () => {
  let now = 0;
  const send = createRequestPolicy(() => now);
  for (const caller of ['alice', 'bob', 'carol']) await outcome(send(caller, () => Promise.reject(down())));
  now += 1_000;
  expect(await outcome(send('dave', () => Promise.reject(new Error('lease lost'))))).toBe('lease lost');
  now += 2_000;
  void send('erin', () => new Promise(() => {})); // never settles
  await new Promise(setImmediate);
  now += 2_000;
  expect(await outcome(send('frank', async () => 'yes'))).toBe('succeeded');
});
