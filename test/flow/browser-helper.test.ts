import { readFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';

const file = new URL('../../public/latchkey.js', import.meta.url);
// What a browser imports as it is; it has no types but its comments.
const { api, createApi, signIn, ApiError } = await import(file.href);

interface Answer {
  readonly status: number;
  readonly headers?: Record<string, string>;
  readonly body?: unknown;
}
interface Seen {
  readonly method: string;
  readonly url: string;
  readonly headers: IncomingMessage['headers'];
  readonly body: string;
}

let answers: Answer[];
let seen: Seen[];
let origin: string;
const assigned: string[] = [];
const realFetch = globalThis.fetch;
const sentInit: RequestInit[] = [];

const answering: RequestListener = async (req, res) => {
  let body = '';
  for await (const chunk of req) body += chunk;
  seen.push({ method: req.method!, url: req.url!, headers: req.headers, body });
  const answer = answers.length > 1 ? answers.shift()! : answers[0]!;
  res.writeHead(answer.status, answer.headers);
  res.end(typeof answer.body === 'string' ? answer.body : answer.body && JSON.stringify(answer.body));
};
const server = createServer(answering);

beforeAll(async () => {
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const location = {
    origin,
    href: `${origin}/orders?page=2#/open`,
    assign: (url: string) => assigned.push(url),
  };
  Object.assign(globalThis, {
    location,
    // A browser resolves against its page; Node has none.
    fetch: (path: string, init: RequestInit) => {
      sentInit.push(init);
      return realFetch(new URL(path, origin), init);
    },
  });
});
afterAll(async () => {
  Object.assign(globalThis, { fetch: realFetch });
  Reflect.deleteProperty(globalThis, 'location');
  server.closeAllConnections();
  await new Promise((done) => server.close(done));
});
beforeEach(() => {
  answers = [];
  seen = [];
  assigned.length = 0;
  sentInit.length = 0;
});

const failure = (promise: Promise<unknown>) =>
  promise.then(
    () => Promise.reject(new Error('it did not fail')),
    (error: unknown) => error,
  );

test.each([200, 201, 204])('an answer %s is given as it is', async (status) => {
  answers = [{ status, ...(status !== 204 && { body: { a: 1 } }) }];
  const answer = await api('/api/data');
  expect(answer.status).toBe(status);
  if (status !== 204) expect(await answer.json()).toEqual({ a: 1 });
});

test('nothing is added to what the caller says but whose cookies go along', async () => {
  answers = [{ status: 200 }];
  await api('/api/data?x=1', { method: 'POST', body: 'a=1', headers: { 'x-own': 'y' } });
  expect(seen).toMatchObject([
    { method: 'POST', url: '/api/data?x=1', body: 'a=1', headers: { 'x-own': 'y' } },
  ]);
  expect(sentInit[0]).toEqual({
    credentials: 'same-origin',
    method: 'POST',
    body: 'a=1',
    headers: { 'x-own': 'y' },
  });
});

test('another app calls it at its origin, with the cookies of that', async () => {
  answers = [{ status: 200 }];
  await createApi(origin)('/api/data');
  expect(sentInit[0]).toEqual({ credentials: 'include' });
  expect(seen[0]!.url).toBe('/api/data');
});

test.each([
  [
    'a login is needed',
    {
      status: 401,
      body: { error: 'login_required', message: 'Please sign in.', request_id: 'r1', login_url: '/L' },
    },
    {
      status: 401,
      code: 'login_required',
      message: 'Please sign in.',
      requestId: 'r1',
      loginUrl: '/L',
      retryable: false,
    },
  ],
  [
    'a scope is missing',
    { status: 403, body: { error: 'insufficient_scope', message: 'x', scope: 'a b', login_url: '/L' } },
    { status: 403, code: 'insufficient_scope', scope: 'a b', loginUrl: '/L' },
  ],
  [
    'a newer login is needed',
    { status: 401, body: { error: 'insufficient_user_authentication', login_url: '/L' } },
    { status: 401, code: 'insufficient_user_authentication', loginUrl: '/L' },
  ],
  [
    'it was too often',
    { status: 429, headers: { 'retry-after': '7' }, body: { error: 'too_many_requests' } },
    { status: 429, code: 'too_many_requests', retryAfterSeconds: 7 },
  ],
  [
    'the API answers in its own way',
    { status: 422, headers: { 'x-request-id': 'r2' }, body: { errors: ['name'] } },
    {
      status: 422,
      code: undefined,
      requestId: 'r2',
      body: { errors: ['name'] },
      message: 'The server responded with status 422.',
    },
  ],
  ['it is text', { status: 500, body: '<h1>Oh</h1>' }, { status: 500, code: undefined, body: '<h1>Oh</h1>' }],
  [
    'it is nothing',
    { status: 502 },
    { status: 502, code: undefined, body: '', retryAfterSeconds: undefined },
  ],
  ['it is null', { status: 500, body: 'null' }, { status: 500, code: undefined, body: null }],
  ['it is a list', { status: 400, body: ['x'] }, { status: 400, code: undefined }],
  [
    'members are of other types',
    { status: 400, body: { error: { code: 1 }, message: 2, login_url: 3, retryable: 'true' } },
    { status: 400, code: undefined, loginUrl: undefined, retryable: false },
  ],
  [
    'it is a 503 that does not say when',
    { status: 503, body: {} },
    { status: 503, retryAfterSeconds: undefined },
  ],
  [
    'it is a 503 that would take too long',
    { status: 503, headers: { 'retry-after': '11' } },
    { status: 503, retryAfterSeconds: 11 },
  ],
  [
    'its Retry-After is garbage',
    { status: 503, headers: { 'retry-after': 'soon' } },
    { retryAfterSeconds: undefined },
  ],
])('when %s, it is told in one ApiError, after one request', async (_what, answer: Answer, expected) => {
  const login = `${origin}/auth/login?return_to=%2F`;
  answers = [JSON.parse(JSON.stringify(answer).replaceAll('"/L"', JSON.stringify(login)))];
  const error = await failure(api('/api/data'));
  expect(error).toBeInstanceOf(ApiError);
  expect(error).toMatchObject(JSON.parse(JSON.stringify(expected).replaceAll('"/L"', JSON.stringify(login))));
  for (const [name, value] of Object.entries(expected))
    if (value === undefined) expect(Reflect.get(error as object, name) ?? undefined).toBeUndefined();
  expect(seen.length).toBe(1);
  expect(assigned).toEqual([]);
});

test.each([
  'javascript:alert(1)',
  'https://evil.example/auth/login?',
  '//evil.example/auth/login?',
  '/auth/login?return_to=/',
  'ORIGIN.evil.example/auth/login?',
  'ORIGIN@evil.example/auth/login?',
  'ORIGIN/auth/logout?',
])('an API cannot send people to %s with a login_url of its own', async (login_url) => {
  answers = [
    { status: 401, body: { error: 'login_required', login_url: login_url.replace('ORIGIN', origin) } },
  ];
  expect(await failure(api('/api/data'))).toMatchObject({ loginUrl: undefined });
});

test('signing in leads to the login the error names, and from there back to this very place', async () => {
  answers = [{ status: 403, body: { login_url: `${origin}/auth/login?return_to=%2F&scope=write%3Adata` } }];
  signIn(await failure(api('/api/data')));
  expect(assigned.length).toBe(1);
  const { pathname, searchParams } = new URL(assigned[0]!);
  expect([pathname, searchParams.get('scope')]).toEqual(['/auth/login', 'write:data']);
  expect(searchParams.get('return_to')).toBe(`${origin}/orders?page=2#/open`);
});

const renewed = { status: 401, body: { error: 'token_renewed', retryable: true } };
test.each([
  ['a GET', { method: 'GET' }],
  ['a POST with text', { method: 'POST', body: 'a=1' }],
  ['a DELETE', { method: 'DELETE' }],
])('%s is sent once more when its access was renewed meanwhile', async (_what, init: RequestInit) => {
  answers = [renewed, { status: 200 }];
  expect((await api('/api/data', init)).status).toBe(200);
  expect(seen.map(({ method, body }) => [method, body])).toEqual(
    Array(2).fill([init.method, init.body ?? '']),
  );
});

test('and only once; a stream is not sent again at all', async () => {
  answers = [renewed];
  expect(await failure(api('/api/data'))).toMatchObject({ code: 'token_renewed', retryable: true });
  expect(seen.length).toBe(2);
  seen = [];
  const body = new Blob(['abc']).stream();
  expect(await failure(api('/api/data', { method: 'POST', body, duplex: 'half' }))).toMatchObject({
    retryable: true,
  });
  expect(seen.length).toBe(1);
});

const away = (after: string) => ({ status: 503, headers: { 'retry-after': after }, body: { error: 'x' } });

test('a GET waits out a 503 that says how long, by seconds or by date', async () => {
  answers = [away('1'), away('0'), { status: 200 }];
  const began = Date.now();
  expect((await api('/api/data')).status).toBe(200);
  expect(Date.now() - began).toBeGreaterThan(950);
  expect(seen.length).toBe(3);
  answers = [away(new Date(Date.now() + 60_000).toUTCString())];
  const { retryAfterSeconds } = (await failure(api('/api/data'))) as { retryAfterSeconds: number };
  expect(retryAfterSeconds).toBeGreaterThan(55);
});

test('twice at most, ten seconds in all at most, and never for what changes something', async () => {
  answers = [away('0')];
  expect(await failure(api('/api/data'))).toMatchObject({ status: 503 });
  expect(seen.length).toBe(3);

  answers = [away('1'), away('10')];
  seen = [];
  expect(await failure(api('/api/data'))).toMatchObject({ retryAfterSeconds: 10 });
  expect(seen.length).toBe(2);

  answers = [away('0')];
  for (const method of ['POST', 'PUT', 'PATCH', 'DELETE']) {
    seen = [];
    expect(await failure(api('/api/data', { method }))).toMatchObject({ status: 503, retryAfterSeconds: 0 });
    expect(seen.length).toBe(1);
  }
});

test('who stops waiting is not held back', async () => {
  answers = [away('2')];
  const reason = new Error('left');
  const leaving = new AbortController();
  const call = failure(api('/api/data', { signal: leaving.signal }));
  while (seen.length === 0) await new Promise((resolve) => setImmediate(resolve));
  setTimeout(() => leaving.abort(reason), 50);
  const began = Date.now();
  expect(await call).toBe(reason);
  expect(Date.now() - began).toBeLessThan(1_500);
  expect(seen.length).toBe(1);
});

test('a network that is not there is told as fetch tells it', async () => {
  expect(await failure(createApi('http://127.0.0.1:1')('/api/data'))).toMatchObject({ name: 'TypeError' });
});

test('it is small, and needs nothing', () => {
  const text = readFileSync(file, 'utf8');
  expect(text.length).toBeLessThan(3 * 1024);
  expect(text).not.toMatch(/\bimport\b/);
});
