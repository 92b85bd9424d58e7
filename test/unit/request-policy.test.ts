import { OAuthError } from '../../src/oauth/oauth-error.ts';
import { createRequestPolicy } from '../../src/oauth/request-policy.ts';

const down = (kind: OAuthError['kind'] = 'outcome_unknown', retryAfterSeconds?: number) =>
  new OAuthError(kind, 'down', { retryAfterSeconds });
const outcome = (promise: Promise<unknown>) =>
  promise.then(
    () => 'answered',
    (error: OAuthError) => error.message,
  );

test('an answer passes, and so does a no', async () => {
  const ask = createRequestPolicy(Date.now);
  await expect(ask(async () => 'yes')).resolves.toBe('yes');
  for (let each = 0; each < 20; each += 1)
    await expect(ask(() => Promise.reject(new OAuthError('invalid_grant', 'no')))).rejects.toMatchObject({
      kind: 'invalid_grant',
    });
  await expect(ask(async () => 'still')).resolves.toBe('still');
});

test('what was not taken up is asked again, twice at the most; what may have been is not', async () => {
  const ask = createRequestPolicy(Date.now);
  let asked = 0;
  const failing = (kind: OAuthError['kind']) => async () => {
    asked += 1;
    throw down(kind);
  };
  await outcome(ask(failing('unavailable')));
  expect(asked).toBe(3);
  await outcome(ask(failing('outcome_unknown')));
  expect(asked).toBe(4);
  let tries = 0;
  const secondTime = async () => {
    tries += 1;
    if (tries === 1) throw down('unavailable');
    return 'answered';
  };
  await expect(ask(secondTime)).resolves.toBe('answered');
});

test('after seven failures in a row nobody is sent there for a while, and one who probes opens it for all', async () => {
  const ask = createRequestPolicy(Date.now);
  let asked = 0;
  let isDown = true;
  const question = async () => {
    asked += 1;
    if (isDown) throw down();
    return 'answered';
  };
  for (let each = 0; each < 7; each += 1) await outcome(ask(question));
  for (let each = 0; each < 100; each += 1)
    expect(await outcome(ask(question))).toBe(
      'request to the authorization server skipped: circuit breaker is open',
    );
  expect(asked).toBe(7);
  isDown = false;
  await new Promise((resolve) => setTimeout(resolve, 1_050)); // the first probe is due after a second at the most
  const answers = await Promise.all(Array.from({ length: 50 }, () => outcome(ask(question))));
  expect(answers).toEqual(Array(50).fill('answered'));
});

test('no more than ten questions are under way at once, and the others get their turn', async () => {
  const ask = createRequestPolicy(Date.now);
  let underWay = 0;
  let most = 0;
  const question = async () => {
    underWay += 1;
    most = Math.max(most, underWay);
    await new Promise((resolve) => setTimeout(resolve, 2));
    underWay -= 1;
    return 'answered';
  };
  const answers = await Promise.all(Array.from({ length: 300 }, () => outcome(ask(question))));
  expect(answers).toEqual(Array(300).fill('answered'));
  expect(most).toBe(10);
});

test('Retry-After holds for everyone', async () => {
  let now = 0;
  const ask = createRequestPolicy(() => now);
  await outcome(ask(() => Promise.reject(down('unavailable', 60))));
  const held = await ask(async () => 'yes').catch((error: OAuthError) => error);
  expect(held).toMatchObject({ kind: 'unavailable', retryAfterSeconds: 60 });
  now = 60_000;
  await expect(ask(async () => 'yes')).resolves.toBe('yes');
});
