import { readFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';

const file = new URL('../../public/latchkey.js', import.meta.url);
// Browsers import this file as it is; its only types are in comments.
const { api, createApi, signIn, ApiError } = await import(file.href);

interface CannedResponse {
  readonly status: number;
  readonly headers?: Record<string, string>;
  readonly body?: unknown;
}
interface ReceivedRequest {
  readonly method: string;
  readonly url: string;
  readonly headers: IncomingMessage['headers'];
  readonly body: string;
}

/** What the server sends: one per request, and the last one for all further requests. */
let responses: CannedResponse[];
let requests: ReceivedRequest[];
let origin: string;
/** What `location.assign` was called with. */
const navigations: string[] = [];
const realFetch = globalThis.fetch;
const fetchOptions: RequestInit[] = [];

const respond: RequestListener = async (req, res) => {
  let body = '';
  for await (const chunk of req) body += chunk;
  requests.push({ method: req.method!, url: req.url!, headers: req.headers, body });
  const response = responses.length > 1 ? responses.shift()! : responses[0]!;
  res.writeHead(response.status, response.headers);
  res.end(typeof response.body === 'string' ? response.body : response.body && JSON.stringify(response.body));
};
const server = createServer(respond);

beforeAll(async () => {
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const location = {
    origin,
    href: `${origin}/orders?page=2#/open`,
    assign: (url: string) => navigations.push(url),
  };
  Object.assign(globalThis, {
    location,
    // A browser resolves a relative URL against its page; Node has no page.
    fetch: (path: string, init: RequestInit) => {
      fetchOptions.push(init);
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
  responses = [];
  requests = [];
  navigations.length = 0;
  fetchOptions.length = 0;
});

const rejectionOf = (promise: Promise<unknown>) =>
  promise.then(
    () => Promise.reject(new Error('expected a rejection')),
    (error: unknown) => error,
  );

test.each([200, 201, 204])('api() returns a response with status %s unchanged', async (status) => {
  responses = [{ status, ...(status !== 204 && { body: { a: 1 } }) }];
  const response = await api('/api/data');
  expect(response.status).toBe(status);
  if (status !== 204) expect(await response.json()).toEqual({ a: 1 });
});

test("api() adds only `credentials` to the caller's fetch options", async () => {
  responses = [{ status: 200 }];
  await api('/api/data?x=1', { method: 'POST', body: 'a=1', headers: { 'x-own': 'y' } });
  expect(requests).toMatchObject([
    { method: 'POST', url: '/api/data?x=1', body: 'a=1', headers: { 'x-own': 'y' } },
  ]);
  expect(fetchOptions[0]).toEqual({
    credentials: 'same-origin',
    method: 'POST',
    body: 'a=1',
    headers: { 'x-own': 'y' },
  });
});

test('in an app on another origin, createApi(origin) sends requests to the given origin, with credentials', async () => {
  responses = [{ status: 200 }];
  await createApi(origin)('/api/data');
  expect(fetchOptions[0]).toEqual({ credentials: 'include' });
  expect(requests[0]!.url).toBe('/api/data');
});

test.each([
  [
    'login_required',
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
    'insufficient_scope',
    { status: 403, body: { error: 'insufficient_scope', message: 'x', scope: 'a b', login_url: '/L' } },
    { status: 403, code: 'insufficient_scope', scope: 'a b', loginUrl: '/L' },
  ],
  [
    'insufficient_user_authentication',
    { status: 401, body: { error: 'insufficient_user_authentication', login_url: '/L' } },
    { status: 401, code: 'insufficient_user_authentication', loginUrl: '/L' },
  ],
  [
    'too_many_requests with Retry-After',
    { status: 429, headers: { 'retry-after': '7' }, body: { error: 'too_many_requests' } },
    { status: 429, code: 'too_many_requests', retryAfterSeconds: 7 },
  ],
  [
    'an error of the API in its own format',
    { status: 422, headers: { 'x-request-id': 'r2' }, body: { errors: ['name'] } },
    {
      status: 422,
      code: undefined,
      requestId: 'r2',
      body: { errors: ['name'] },
      message: 'The server responded with status 422.',
    },
  ],
  [
    'a text body',
    { status: 500, body: '<h1>Oh</h1>' },
    { status: 500, code: undefined, body: '<h1>Oh</h1>' },
  ],
  [
    'an empty body',
    { status: 502 },
    { status: 502, code: undefined, body: '', retryAfterSeconds: undefined },
  ],
  ['a JSON null', { status: 500, body: 'null' }, { status: 500, code: undefined, body: null }],
  ['a JSON array', { status: 400, body: ['x'] }, { status: 400, code: undefined }],
  [
    'members of unexpected types',
    { status: 400, body: { error: { code: 1 }, message: 2, login_url: 3, retryable: 'true' } },
    { status: 400, code: undefined, loginUrl: undefined, retryable: false },
  ],
  ['a 503 without Retry-After', { status: 503, body: {} }, { status: 503, retryAfterSeconds: undefined }],
  [
    'a 503 with a Retry-After over ten seconds',
    { status: 503, headers: { 'retry-after': '11' } },
    { status: 503, retryAfterSeconds: 11 },
  ],
  [
    'a 503 with an invalid Retry-After',
    { status: 503, headers: { 'retry-after': 'soon' } },
    { retryAfterSeconds: undefined },
  ],
])(
  'api() rejects with an ApiError after a single request: %s',
  async (_what, response: CannedResponse, expected) => {
    const login = `${origin}/auth/login?return_to=%2F`;
    responses = [JSON.parse(JSON.stringify(response).replaceAll('"/L"', JSON.stringify(login)))];
    const error = await rejectionOf(api('/api/data'));
    expect(error).toBeInstanceOf(ApiError);
    expect(error).toMatchObject(
      JSON.parse(JSON.stringify(expected).replaceAll('"/L"', JSON.stringify(login))),
    );
    for (const [name, value] of Object.entries(expected))
      if (value === undefined) expect(Reflect.get(error as object, name) ?? undefined).toBeUndefined();
    expect(requests.length).toBe(1);
    expect(navigations).toEqual([]);
  },
);

test.each([
  'javascript:alert(1)',
  'https://evil.example/auth/login?',
  '//evil.example/auth/login?',
  '/auth/login?return_to=/',
  'ORIGIN.evil.example/auth/login?',
  'ORIGIN@evil.example/auth/login?',
  'ORIGIN/auth/logout?',
])('an API cannot redirect users to %s through its own login_url', async (login_url) => {
  responses = [
    { status: 401, body: { error: 'login_required', login_url: login_url.replace('ORIGIN', origin) } },
  ];
  expect(await rejectionOf(api('/api/data'))).toMatchObject({ loginUrl: undefined });
});

test('signIn() navigates to the login_url of the error and returns to the current page', async () => {
  responses = [{ status: 403, body: { login_url: `${origin}/auth/login?return_to=%2F&scope=write%3Adata` } }];
  signIn(await rejectionOf(api('/api/data')));
  expect(navigations.length).toBe(1);
  const { pathname, searchParams } = new URL(navigations[0]!);
  expect([pathname, searchParams.get('scope')]).toEqual(['/auth/login', 'write:data']);
  expect(searchParams.get('return_to')).toBe(`${origin}/orders?page=2#/open`);
});

const tokenRenewed = { status: 401, body: { error: 'token_renewed', retryable: true } };
test.each([
  ['a GET', { method: 'GET' }],
  ['a POST with a text body', { method: 'POST', body: 'a=1' }],
  ['a DELETE', { method: 'DELETE' }],
])('api() retries %s after token_renewed', async (_what, init: RequestInit) => {
  responses = [tokenRenewed, { status: 200 }];
  expect((await api('/api/data', init)).status).toBe(200);
  expect(requests.map(({ method, body }) => [method, body])).toEqual(
    Array(2).fill([init.method, init.body ?? '']),
  );
});

test('api() retries token_renewed only once, and never with a stream as body', async () => {
  responses = [tokenRenewed];
  expect(await rejectionOf(api('/api/data'))).toMatchObject({ code: 'token_renewed', retryable: true });
  expect(requests.length).toBe(2);
  requests = [];
  const body = new Blob(['abc']).stream();
  expect(await rejectionOf(api('/api/data', { method: 'POST', body, duplex: 'half' }))).toMatchObject({
    retryable: true,
  });
  expect(requests.length).toBe(1);
});

const unavailable = (retryAfter: string) => ({
  status: 503,
  headers: { 'retry-after': retryAfter },
  body: { error: 'x' },
});

test('api() retries a GET after the Retry-After of a 503, and understands an HTTP date', async () => {
  responses = [unavailable('1'), unavailable('0'), { status: 200 }];
  const startedAt = Date.now();
  expect((await api('/api/data')).status).toBe(200);
  expect(Date.now() - startedAt).toBeGreaterThan(950);
  expect(requests.length).toBe(3);
  responses = [unavailable(new Date(Date.now() + 60_000).toUTCString())];
  const { retryAfterSeconds } = (await rejectionOf(api('/api/data'))) as { retryAfterSeconds: number };
  expect(retryAfterSeconds).toBeGreaterThan(55);
});

test('api() retries a 503 at most twice, for at most ten seconds, and never with an unsafe method', async () => {
  responses = [unavailable('0')];
  expect(await rejectionOf(api('/api/data'))).toMatchObject({ status: 503 });
  expect(requests.length).toBe(3);

  responses = [unavailable('1'), unavailable('10')];
  requests = [];
  expect(await rejectionOf(api('/api/data'))).toMatchObject({ retryAfterSeconds: 10 });
  expect(requests.length).toBe(2);

  responses = [unavailable('0')];
  for (const method of ['POST', 'PUT', 'PATCH', 'DELETE']) {
    requests = [];
    expect(await rejectionOf(api('/api/data', { method }))).toMatchObject({
      status: 503,
      retryAfterSeconds: 0,
    });
    expect(requests.length).toBe(1);
  }
});

test('aborting the signal ends the wait for a retry', async () => {
  responses = [unavailable('2')];
  const reason = new Error('aborted');
  const controller = new AbortController();
  const call = rejectionOf(api('/api/data', { signal: controller.signal }));
  while (requests.length === 0) await new Promise((resolve) => setImmediate(resolve));
  setTimeout(() => controller.abort(reason), 50);
  const startedAt = Date.now();
  expect(await call).toBe(reason);
  expect(Date.now() - startedAt).toBeLessThan(1_500);
  expect(requests.length).toBe(1);
});

test("a network error rejects with fetch's own TypeError", async () => {
  expect(await rejectionOf(createApi('http://127.0.0.1:1')('/api/data'))).toMatchObject({
    name: 'TypeError',
  });
});

test('the helper is under 3 KB and has no imports', () => {
  const text = readFileSync(file, 'utf8');
  expect(text.length).toBeLessThan(3 * 1024);
  expect(text).not.toMatch(/\bimport\b/);
});
