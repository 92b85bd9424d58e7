import { OAuthError } from '../../src/oauth/oauth-error.ts';
import { createRequestPolicy } from '../../src/oauth/request-policy.ts';

const down = (kind: OAuthError['kind'] = 'outcome_unknown', retryAfterSeconds?: number) =>
  new OAuthError(kind, 'down', { retryAfterSeconds });
const outcome = (promise: Promise<unknown>) =>
  promise.then(
    () => 'succeeded',
    (error: OAuthError) => error.message,
  );

test('responses and OAuth errors are passed through', async () => {
  const send = createRequestPolicy(Date.now);
  await expect(send(async () => 'yes')).resolves.toBe('yes');
  for (let each = 0; each < 20; each += 1)
    await expect(send(() => Promise.reject(new OAuthError('invalid_grant', 'no')))).rejects.toMatchObject({
      kind: 'invalid_grant',
    });
  await expect(send(async () => 'still')).resolves.toBe('still');
});

test('a request that was not processed is retried twice; one that may have been processed is not', async () => {
  const send = createRequestPolicy(Date.now);
  let attempts = 0;
  const failWith = (kind: OAuthError['kind']) => async () => {
    attempts += 1;
    throw down(kind);
  };
  await outcome(send(failWith('unavailable')));
  expect(attempts).toBe(3);
  await outcome(send(failWith('outcome_unknown')));
  expect(attempts).toBe(4);
  let retried = 0;
  const succeedOnRetry = async () => {
    retried += 1;
    if (retried === 1) throw down('unavailable');
    return 'succeeded';
  };
  await expect(send(succeedOnRetry)).resolves.toBe('succeeded');
});

test('after seven consecutive failures no request is sent until a successful probe closes the circuit', async () => {
  const send = createRequestPolicy(Date.now);
  let attempts = 0;
  let isDown = true;
  const request = async () => {
    attempts += 1;
    if (isDown) throw down();
    return 'succeeded';
  };
  for (let each = 0; each < 7; each += 1) await outcome(send(request));
  for (let each = 0; each < 100; each += 1)
    expect(await outcome(send(request))).toBe(
      'request to the authorization server skipped: circuit breaker is open',
    );
  expect(attempts).toBe(7);
  isDown = false;
  await new Promise((resolve) => setTimeout(resolve, 1_050)); // the first probe is due after at most one second
  const outcomes = await Promise.all(Array.from({ length: 50 }, () => outcome(send(request))));
  expect(outcomes).toEqual(Array(50).fill('succeeded'));
});

test('at most ten requests run concurrently, and the others are queued', async () => {
  const send = createRequestPolicy(Date.now);
  let running = 0;
  let maxRunning = 0;
  const request = async () => {
    running += 1;
    maxRunning = Math.max(maxRunning, running);
    await new Promise((resolve) => setTimeout(resolve, 2));
    running -= 1;
    return 'succeeded';
  };
  const outcomes = await Promise.all(Array.from({ length: 300 }, () => outcome(send(request))));
  expect(outcomes).toEqual(Array(300).fill('succeeded'));
  expect(maxRunning).toBe(10);
});

test('Retry-After delays all requests', async () => {
  let now = 0;
  const send = createRequestPolicy(() => now);
  await outcome(send(() => Promise.reject(down('unavailable', 60))));
  const error = await send(async () => 'yes').catch((error: OAuthError) => error);
  expect(error).toMatchObject({ kind: 'unavailable', retryAfterSeconds: 60 });
  now = 60_000;
  await expect(send(async () => 'yes')).resolves.toBe('yes');
});

test('the Retry-After of a rejected request does not make other requests wait', async () => {
  const send = createRequestPolicy(Date.now);
  const rejected = new OAuthError('invalid_grant', 'no', { retryAfterSeconds: 300 });
  expect(await outcome(send(() => Promise.reject(rejected)))).toBe('no');
  expect(await outcome(send(async () => 'yes'))).toBe('succeeded');
});
