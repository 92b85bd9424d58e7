import { getEventListeners } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { gzipSync } from 'node:zlib';

const file = new URL('../../public/latchkey.js', import.meta.url);
// Browsers import this file as it is. test/browser/latchkey-js.test.ts has what needs a page.
const latchkey = await import(file.href);
const { api, connect, signIn, ApiError } = latchkey;
const declarations = readFileSync(new URL('../../public/latchkey.d.ts', import.meta.url), 'utf8');
const packageJson = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'));

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

/** A response as Latchkey marks its own errors. */
const ofLatchkey = ({
  headers,
  ...rest
}: CannedResponse & { readonly body: { readonly error: string; readonly [name: string]: unknown } }) => ({
  ...rest,
  headers: { ...headers, 'latchkey-error': rest.body.error },
});

/** What the server sends: one per request, and the last one for all further requests. */
let responses: CannedResponse[];
let requests: ReceivedRequest[];
let origin: string;
/** What `location.assign` was called with. */
const navigations: string[] = [];
const page = { origin: '', href: '', assign: (url: string) => navigations.push(url) };
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
  Object.assign(page, { origin, href: `${origin}/orders?page=2#/open` });
  Object.assign(globalThis, {
    location: page,
    fetch: (url: string, init: RequestInit) => {
      fetchOptions.push(init);
      return realFetch(url, init);
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
  const { headers, ...options } = fetchOptions[0]!;
  expect(options).toEqual({ credentials: 'same-origin', method: 'POST', body: 'a=1' });
  expect([...new Headers(headers)]).toEqual([['x-own', 'y']]);
});

test.each([
  ['ORIGIN', 'include', '/api/data'],
  ['ORIGIN/', 'include', '/api/data'],
  ['ORIGIN/portal', 'include', '/portal/api/data'],
])(
  'on another origin, connect(%s) sends requests there, with credentials',
  async (address, credentials, url) => {
    page.origin = 'http://spa.example.com';
    responses = [{ status: 200 }];
    await connect(address.replace('ORIGIN', origin)).api('/api/data');
    page.origin = origin;
    expect(fetchOptions[0]).toMatchObject({ credentials });
    expect(requests[0]!.url).toBe(url);
  },
);

test('under a base path, connect(path) sends requests and logins there', async () => {
  const portal = connect('/portal');
  const loginUrl = `${origin}/portal/auth/login?return_to=%2F`;
  responses = [ofLatchkey({ status: 401, body: { error: 'login_required', login_url: loginUrl } })];
  expect(await rejectionOf(portal.api('/api/data'))).toMatchObject({ loginUrl });
  expect([requests[0]!.url, fetchOptions[0]!.credentials]).toEqual(['/portal/api/data', 'same-origin']);
  portal.signIn();
  expect(new URL(navigations[0]!).pathname).toBe('/portal/auth/login');
});

test('api() also takes a whole URL of Latchkey', async () => {
  responses = [{ status: 200 }];
  await api(`${origin}/api/data`);
  expect(requests[0]!.url).toBe('/api/data');
});

test.each([
  'api/data',
  '.evil.example/',
  '@evil.example/',
  'https://evil.example/',
  'ORIGIN.evil.example/',
  '',
])('api(%j) is a mistake, and sends nothing', async (path) => {
  expect(await rejectionOf(api(path.replace('ORIGIN', origin)))).toBeInstanceOf(TypeError);
  expect(requests).toEqual([]);
});

test.each([
  [
    'login_required',
    ofLatchkey({
      status: 401,
      headers: { 'x-request-id': 'r1' },
      body: { error: 'login_required', message: 'Please sign in.', login_url: '/L' },
    }),
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
    ofLatchkey({ status: 403, body: { error: 'insufficient_scope', scope: 'a b', login_url: '/L' } }),
    { status: 403, code: 'insufficient_scope', scope: 'a b', loginUrl: '/L' },
  ],
  [
    'insufficient_user_authentication',
    ofLatchkey({ status: 401, body: { error: 'insufficient_user_authentication', login_url: '/L' } }),
    { status: 401, code: 'insufficient_user_authentication', loginUrl: '/L' },
  ],
  [
    'insufficient_scope that the last login requested already',
    ofLatchkey({
      status: 403,
      body: { error: 'insufficient_scope', declined: true, request_again_url: '/L' },
    }),
    { code: 'insufficient_scope', loginUrl: undefined, requestAgainUrl: '/L' },
  ],
  [
    'too_many_requests with Retry-After',
    ofLatchkey({ status: 429, headers: { 'retry-after': '7' }, body: { error: 'too_many_requests' } }),
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
  [
    'a 503 without Retry-After',
    ofLatchkey({ status: 503, body: { error: 'temporarily_unavailable' } }),
    { status: 503, retryAfterSeconds: undefined },
  ],
  [
    'a 503 with a Retry-After over ten seconds',
    ofLatchkey({
      status: 503,
      headers: { 'retry-after': '11' },
      body: { error: 'temporarily_unavailable' },
    }),
    { status: 503, retryAfterSeconds: 11 },
  ],
  [
    'a 503 of the API that looks like one of Latchkey',
    { status: 503, headers: { 'retry-after': '0' }, body: { error: 'temporarily_unavailable' } },
    { status: 503, code: undefined, retryAfterSeconds: 0 },
  ],
  [
    'a 401 of the API that looks like one of Latchkey',
    { status: 401, body: { error: 'token_renewed', retryable: true, login_url: '/L', scope: 'a' } },
    { status: 401, code: undefined, retryable: false, loginUrl: undefined, scope: undefined },
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
])('a login_url leads to Latchkey, not to %s', async (login_url) => {
  const body = { error: 'login_required', login_url: login_url.replace('ORIGIN', origin) };
  responses = [ofLatchkey({ status: 401, body })];
  expect(await rejectionOf(api('/api/data'))).toMatchObject({ loginUrl: undefined });
});

test('signIn() navigates to the login_url of the error and returns to the current page', async () => {
  const login_url = `${origin}/auth/login?return_to=%2F&scope=write%3Adata`;
  responses = [ofLatchkey({ status: 403, body: { error: 'insufficient_scope', login_url } })];
  signIn(await rejectionOf(api('/api/data')));
  expect(navigations.length).toBe(1);
  const { pathname, searchParams } = new URL(navigations[0]!);
  expect([pathname, searchParams.get('scope')]).toEqual(['/auth/login', 'write:data']);
  expect(searchParams.get('return_to')).toBe(`${origin}/orders?page=2#/open`);
});

test('signIn() without an error, or with an event, starts an ordinary login', () => {
  signIn();
  signIn(new Event('click'));
  const login = `${origin}/auth/login?return_to=${encodeURIComponent(page.href)}`;
  expect(navigations).toEqual([login, login]);
});

test('signIn() throws the given error if signing in would not help, so that no page loops', async () => {
  responses = [{ status: 403, body: { error: 'not your order' } }];
  const error = await rejectionOf(api('/api/data'));
  expect(() => signIn(error)).toThrow(error as Error);
  expect(navigations).toEqual([]);
});

const tokenRenewed = ofLatchkey({ status: 401, body: { error: 'token_renewed' } });
const formData = new FormData();
formData.set('file', new Blob(['abc']), 'a.txt');
test.each([
  ['a GET', { method: 'GET' }],
  ['a POST with a text body', { method: 'POST', body: 'a=1' }],
  ['a POST with a Blob', { method: 'POST', body: new Blob(['a=1']) }],
  ['an upload with FormData', { method: 'POST', body: formData }],
  ['a DELETE', { method: 'DELETE' }],
])('api() resends %s after token_renewed', async (_what, init: RequestInit) => {
  responses = [tokenRenewed, { status: 200 }];
  expect((await api('/api/data', init)).status).toBe(200);
  const expected = init.body === formData ? 'abc' : init.body ? 'a=1' : '';
  expect(requests.map(({ method, body }) => [method, body])).toEqual(
    Array(2).fill([init.method, expect.stringContaining(expected)]),
  );
});

test('api() resends only once, and never a stream', async () => {
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

const unavailable = (retryAfter: string) =>
  ofLatchkey({
    status: 503,
    headers: { 'retry-after': retryAfter },
    body: { error: 'temporarily_unavailable' },
  });

test('api() resends a GET after the Retry-After of a 503, and understands an HTTP date', async () => {
  responses = [unavailable('1'), { status: 200 }];
  const startedAt = Date.now();
  expect((await api('/api/data')).status).toBe(200);
  expect(Date.now() - startedAt).toBeGreaterThan(950);
  expect(requests.length).toBe(2);
  responses = [unavailable(new Date(Date.now() + 60_000).toUTCString())];
  const { retryAfterSeconds } = (await rejectionOf(api('/api/data'))) as { retryAfterSeconds: number };
  expect(retryAfterSeconds).toBeGreaterThan(55);
});

test.each([
  ['a 503, then a 503', [unavailable('0'), unavailable('0')]],
  ['a 503, then token_renewed', [unavailable('0'), tokenRenewed]],
  ['token_renewed, then a 503', [tokenRenewed, unavailable('0')]],
])('api() sends a request at most twice: %s', async (_what, sent) => {
  responses = [...sent, { status: 200 }];
  expect(await rejectionOf(api('/api/data'))).toMatchObject({ status: sent[1]!.status });
  expect(requests.length).toBe(2);
});

test.each(['POST', 'PUT', 'PATCH', 'DELETE'])('api() never resends a %s after a 503', async (method) => {
  responses = [unavailable('0'), { status: 200 }];
  expect(await rejectionOf(api('/api/data', { method }))).toMatchObject({ status: 503 });
  expect(requests.length).toBe(1);
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

test('waits leave nothing behind on a signal that lives longer', async () => {
  const countListeners = async (signal: AbortSignal) => {
    await api('/api/data', { signal });
    return getEventListeners(signal, 'abort').length;
  };
  responses = [{ status: 200 }];
  const ofOneRequest = await countListeners(new AbortController().signal); // those of fetch
  responses = [unavailable('0'), { status: 200 }];
  expect(await countListeners(new AbortController().signal)).toBe(2 * ofOneRequest);
  expect(requests.length).toBe(3);
});

test("a network error rejects with fetch's own TypeError, and nothing is sent again", async () => {
  expect(await rejectionOf(connect('http://127.0.0.1:1').api('/api/data'))).toMatchObject({
    name: 'TypeError',
  });
  expect(fetchOptions.length).toBe(1);
});

test('the module has the version of the package', () => {
  expect(latchkey.version).toBe(packageJson.version);
});

test('the package exports the module as latchkey/browser, with types for everything in it', () => {
  expect(packageJson.exports['./browser']).toEqual({
    types: './public/latchkey.d.ts',
    default: './public/latchkey.js',
  });
  const declared = [...declarations.matchAll(/^export (?:const|class|function) (\w+)/gm)].map(
    ([, name]) => name,
  );
  expect(declared.sort()).toEqual(Object.keys(latchkey).sort());
});

test('the module has no imports, and at most 10 KB, or 4 KB compressed', () => {
  const text = readFileSync(file, 'utf8');
  expect(text.length).toBeLessThan(10 * 1024);
  expect(gzipSync(text).length).toBeLessThan(4 * 1024);
  expect(text).not.toMatch(/^import\b|\bimport\(/m);
});
