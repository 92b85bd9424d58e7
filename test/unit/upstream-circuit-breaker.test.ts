import {
  type AdmittedCall,
  createUpstreamCircuitBreakers,
  identifyCaller,
} from '../../src/proxy/upstream/circuit-breaker.ts';

type Outcome = number | { readonly code: string };

const user = (name: string) => ({ name: `user ${name}`, isUser: true });
const session = (name: string | number) => ({ name: `session ${name}`, isUser: false });
const refused = { code: 'ECONNREFUSED' };
const timedOut = { code: 'UND_ERR_HEADERS_TIMEOUT' };
const cutOff = { code: 'UND_ERR_SOCKET' };
const aborted = { code: 'UND_ERR_ABORTED' };
const report = { origin: 'https://api.example' };
const orders = { origin: 'https://api.example' };

function createApi() {
  const clock = { now: 1_000_000 };
  const admit = createUpstreamCircuitBreakers(() => clock.now);
  /** The status or code of the outcome; `open` if nothing was sent. */
  async function call(caller: ReturnType<typeof user>, outcome: Outcome, server = report, rest = {}) {
    let admitted: AdmittedCall;
    try {
      admitted = admit({ server, method: 'GET', caller, isUpload: false, ...rest });
    } catch {
      return 'open';
    }
    if (typeof outcome === 'number') {
      admitted.recordStatus(outcome);
      return outcome;
    }
    admitted.recordError(Object.assign(new Error('failed'), outcome));
    return outcome.code;
  }
  return { clock, call };
}

test.each([
  ['503', 503],
  ['timeouts', timedOut],
  ['lost connections', cutOff],
])(
  '%s of one user, on however many calls, affect no other user, and that user sees each',
  async (_, what) => {
    const { call } = createApi();
    for (let each = 0; each < 50; each += 1)
      expect(await call(user('alice'), what)).toBe(typeof what === 'number' ? what : what.code);
    expect(await call(user('bob'), 200)).toBe(200);
  },
);

test.each([
  ['502', 502],
  ['503', 503],
  ['504', 504],
  ['timeouts', timedOut],
  ['lost connections', cutOff],
])('%s of three users in a row open the circuit breaker of that route and method only', async (_, what) => {
  const { call, clock } = createApi();
  for (const name of ['alice', 'bob', 'carol']) await call(user(name), what);
  expect(await call(user('dave'), 200)).toBe('open');
  expect(await call(user('dave'), 200, report, { method: 'HEAD' })).toBe('open');
  expect(await call(user('dave'), 200, report, { method: 'POST' })).toBe(200);
  expect(await call(user('dave'), 200, orders)).toBe(200);
  clock.now += 1_000;
  expect(await call(user('alice'), 200)).toBe('open'); // leaves the probe to others
  expect(await call(user('dave'), 200)).toBe(200);
  expect(await call(user('alice'), 200)).toBe(200);
});

test.each([400, 401, 403, 404, 429, 500, 501])('a response of %i is no failure', async (status) => {
  const { call } = createApi();
  for (let each = 0; each < 20; each += 1) expect(await call(user(`${each}`), status)).toBe(status);
});

test('nine sessions of unknown users, or addresses, do not open it, because one user may have them; the tenth does', async () => {
  const { call } = createApi();
  for (let each = 0; each < 10; each += 1) expect(await call(session(each), 503)).toBe(503);
  expect(await call(user('alice'), 200)).toBe('open');
});

test('failures of several users open nothing while another user gets responses from the route', async () => {
  const { call, clock } = createApi();
  for (let round = 0; round < 20; round += 1) {
    expect(await call(user('alice'), 200)).toBe(200);
    for (let each = 0; each < 20; each += 1) expect(await call(user(`${each}`), 503)).toBe(503);
    clock.now += 900;
  }
});

test('ten calls in a row that cannot connect, even of one user, open the circuit breaker of the host for all routes', async () => {
  const { call, clock } = createApi();
  for (let each = 0; each < 10; each += 1) expect(await call(user('alice'), refused)).toBe('ECONNREFUSED');
  expect(await call(user('bob'), 200, orders)).toBe('open');
  expect(await call(user('bob'), 200, { origin: 'https://other.example' })).toBe(200);
  clock.now += 1_000;
  expect(await call(user('bob'), 200, orders)).toBe(200);
  expect(await call(user('alice'), 200)).toBe(200);
});

test('any response of the host, and a request that it did not answer in time, end the row of failed connections', async () => {
  for (const outcome of [200, 404, 503, timedOut]) {
    const { call } = createApi();
    for (let each = 0; each < 30; each += 1) {
      if (each % 9 === 8) await call(user('bob'), outcome, orders);
      else expect(await call(user('alice'), refused)).toBe('ECONNREFUSED');
    }
  }
});

test('uploads whose connection the API closes do not count', async () => {
  const { call } = createApi();
  for (let each = 0; each < 20; each += 1)
    for (const outcome of [cutOff, { code: 'EPIPE' }, { code: 'ECONNRESET' }])
      expect(await call(user(`${each}`), outcome, report, { isUpload: true })).toBe(outcome.code);
});

test('a probe that its client aborts neither closes the circuit breaker nor blocks the next probe', async () => {
  const { call, clock } = createApi();
  for (const name of ['alice', 'bob', 'carol']) await call(user(name), 503);
  clock.now += 1_000;
  expect(await call(user('dave'), aborted)).toBe('UND_ERR_ABORTED');
  expect(await call(user('erin'), 200)).toBe('open');
  clock.now += 2_000;
  expect(await call(user('erin'), 200)).toBe(200);
});

test('while it is open, one call in one to two seconds is sent, however many arrive', async () => {
  const { call, clock } = createApi();
  let sent = 0;
  for (const name of ['alice', 'bob', 'carol']) await call(user(name), 503);
  for (let step = 0; step < 200; step += 1) {
    clock.now += 100;
    for (let each = 0; each < 5; each += 1)
      if ((await call(user(`${step}.${each}`), 503)) !== 'open') sent += 1;
  }
  expect(sent).toBeGreaterThanOrEqual(10);
  expect(sent).toBeLessThanOrEqual(21);
});

test('failures that are a minute apart do not add up', async () => {
  const { call, clock } = createApi();
  for (let each = 0; each < 20; each += 1) {
    expect(await call(user(`${each}`), 503)).toBe(503);
    clock.now += 40_000;
  }
});

test('a caller is the user, else the session, else the network of the address', () => {
  const login = (sub: string | undefined) => ({ user: sub === undefined ? {} : { sub } }) as never;
  const tokenSource = { accessToken: 'at', sessionId: 'id' };
  expect(identifyCaller({ login: login('alice'), tokenSource, ip: '1.2.3.4' })).toEqual(user('alice'));
  expect(identifyCaller({ login: login(undefined), tokenSource, ip: '1.2.3.4' })).toEqual(session('id'));
  const address = (ip: string | undefined) => identifyCaller({ ip }).name;
  expect(address('2001:db8:1:200::1')).toBe(address('2001:db8:1:2ff:ffff::2'));
  expect(new Set(['1.2.3.4', '1.2.3.5', 'garbage', '1.2.3.4:5'].map(address)).size).toBe(3);
  expect(address('garbage')).toBe(address(undefined));
});
