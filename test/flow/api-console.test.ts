import { gzipSync } from 'node:zlib';
import { type Recorder, startRecorder } from '../hostile/support/recorder.ts';
import type { Browser, Page } from '../support/browser.ts';
import { writeRoutesFile } from '../support/routes-file.ts';
import { createWorld, finishSignIn, type World } from '../support/world.ts';

const week = 604_800;
const read = { allOf: ['read:data'] };
const write = { allOf: ['write:data'] };

let world: World;
let recorder: Recorder;
let browser: Browser;
beforeAll(async () => {
  recorder = await startRecorder();
  world = await createWorld({
    env: {
      OAUTH2_API_BASE_URL: recorder.url,
      OAUTH2_SCOPES: 'openid profile read:data',
      API_ROUTES_FILE: writeRoutesFile([
        { path: '/data', target: '/v1/data', methods: { GET: read, POST: {}, PUT: write, OPTIONS: {} } },
        { path: '/things/:id', target: '/v1/things/:id', methods: { GET: {}, DELETE: {} } },
        { path: '/files/*rest', target: '/v1/files/*rest', methods: { GET: {}, POST: {} } },
        {
          path: '/few',
          target: '/v1/few',
          methods: { POST: {} },
          rateLimit: { limit: 1, windowSeconds: 60 },
        },
        { path: '/events', target: '/v1/events', methods: { GET: {} }, stream: true },
      ]),
    },
  });
  browser = world.browser();
  await world.signIn(browser);
});
afterAll(async () => {
  await world.close();
  await recorder.close();
});
beforeEach(() => {
  recorder.requests.length = 0;
  recorder.respondWith(undefined);
});

/** Submits the form of the console on the page for developers, as a browser without JavaScript does. */
const submitConsole = (
  fields: Readonly<Record<string, string>>,
  from = `${world.origin}/auth/developer`,
  user = browser,
  query = '',
) =>
  user.go(`/auth/console${query}`, {
    method: 'POST',
    from,
    headers: {
      'content-type': 'application/x-www-form-urlencoded',
      ...(from.startsWith(world.origin) && { referer: from }),
    },
    body: new URLSearchParams(fields).toString(),
  });
const apiRequests = () => recorder.requests.map(({ method, target }) => `${method} ${target}`);
const bodyAtApi = async () => {
  const [{ headers, body } = { headers: [], body: undefined }] = recorder.requests;
  const type = headers.find(([name]) => name === 'content-type')?.[1];
  return { type, text: (await body)?.text };
};

test('the console redirects a GET to its URL under /api', async () => {
  const page = await submitConsole({ row: 'GET /things/:id', 'path.id': 'a b', query: 'x=1&y=ä' });
  expect([page.status, page.text]).toEqual([200, '{"recorded":true}']);
  expect(page.url).toBe(`${world.origin}/api/things/a%20b?x=1&y=%C3%A4`);
  expect(apiRequests()).toEqual(['GET /v1/things/a%20b?x=1&y=%C3%A4']);
});

test.each([
  ['a JSON body', 'json', '{"title": "Paint"}', { type: 'application/json', text: '{"title": "Paint"}' }],
  [
    'form fields that are given one per line',
    'form',
    'title=Paint it\r\nnote=<b>',
    formOf('title=Paint+it&note=%3Cb%3E'),
  ],
  ['form fields that are encoded already', 'form', 'title=a&note=b', formOf('title=a&note=b')],
  ['an empty body without a content type', 'json', '', { type: undefined, text: '' }],
])('the console sends %s to the API', async (_what, type, body, expected) => {
  const page = await submitConsole({ row: 'POST /data', type, body });
  expect([page.status, page.text]).toEqual([201, '{"recorded":true}']);
  expect(apiRequests()).toEqual(['POST /v1/data']);
  expect(await bodyAtApi()).toEqual(expected);
  expect(page.headers['content-security-policy']).toContain('sandbox'); // data of the API, not a page of Latchkey
  expect(page.headers['origin-agent-cluster']).toBeUndefined();
});

function formOf(text: string) {
  return { type: 'application/x-www-form-urlencoded', text };
}

test('the console sends DELETE and OPTIONS, which need no body', async () => {
  expect((await submitConsole({ row: 'DELETE /things/:id', 'path.id': '7', body: 'not JSON' })).status).toBe(
    400,
  );
  expect((await submitConsole({ row: 'DELETE /things/:id', 'path.id': '7' })).status).toBe(200);
  expect((await submitConsole({ row: 'OPTIONS /data', body: 'left out' })).status).toBe(200);
  expect(apiRequests()).toEqual(['DELETE /v1/things/7', 'OPTIONS /v1/data']);
});

test('a wildcard path parameter keeps its segments', async () => {
  await submitConsole({ row: 'GET /files/*rest', 'path.rest': 'a/b c/d' });
  await submitConsole({ row: 'POST /files/*rest', 'path.rest': 'a/b' });
  expect(apiRequests()).toEqual(['GET /v1/files/a/b%20c/d', 'POST /v1/files/a/b']);
});

test.each<[string, Readonly<Record<string, string>>, number]>([
  ['a missing path parameter', { row: 'GET /things/:id' }, 400],
  ['a blank path parameter', { row: 'GET /things/:id', 'path.id': '  ' }, 400],
  ['a parent directory in the path of a GET', { row: 'GET /things/:id', 'path.id': '..' }, 400],
  ['a parent directory in the path of a DELETE', { row: 'DELETE /things/:id', 'path.id': '..' }, 400],
  [
    'parent directories in the wildcard path of a GET',
    { row: 'GET /files/*rest', 'path.rest': 'a/../../data' },
    400,
  ],
  [
    'a parent directory in the wildcard path of a POST',
    { row: 'POST /files/*rest', 'path.rest': '../data' },
    400,
  ],
  ['an encoded parent directory', { row: 'GET /things/:id', 'path.id': '%2e%2e' }, 404],
  ['a slash in the path parameter of a GET', { row: 'GET /things/:id', 'path.id': '../data' }, 404],
  ['a slash in the path parameter of a DELETE', { row: 'DELETE /things/:id', 'path.id': '7/8' }, 404],
  ['a backslash in a path parameter', { row: 'GET /things/:id', 'path.id': '..\\data' }, 404],
  ['another host in a wildcard path', { row: 'GET /files/*rest', 'path.rest': '//evil.example' }, 404],
  ['an unknown route', { row: 'GET /nothing' }, 404],
  ['a method that the route does not have', { row: 'PATCH /data' }, 404],
  ['a streaming route', { row: 'GET /events' }, 404],
  ['a request without a route', {}, 404],
  ['a body that is not valid JSON', { row: 'POST /data', type: 'json', body: '{"title": ' }, 400],
])(
  'the console rejects %s with an error page and sends nothing to the API',
  async (_what, fields, status) => {
    const page = await submitConsole(fields);
    expect([page.status, apiRequests()]).toEqual([status, []]);
    expect(page.headers['content-type']).toContain('text/html');
  },
);

test('? and # in a path parameter are percent-encoded', async () => {
  await submitConsole({ row: 'GET /things/:id', 'path.id': 'a?b=1#c' });
  expect(apiRequests()).toEqual(['GET /v1/things/a%3Fb%3D1%23c']);
});

test('the error page names the missing parameter and keeps the rest of the input', async () => {
  const { session_mark } = (await browser.fetch('/auth/session')).json() as { session_mark: string };
  const query = `?session=${session_mark}`;
  const page = await submitConsole(
    { row: 'GET /things/:id', query: 'x="1"' },
    `${world.origin}/auth/developer`,
    browser,
    query,
  );
  expect(page.text).toContain(`action="/auth/console${query}"`); // still the form of this user
  expect(page.text).toContain('Enter a value for “id”.');
  expect(page.text).toContain('value="x=&#34;1&#34;"');
});

test("another site cannot submit the console's form", async () => {
  for (const from of ['https://evil.example/', 'http://localhost:1/'])
    expect((await submitConsole({ row: 'POST /data' }, from)).status).toBe(403);
  expect(apiRequests()).toEqual([]);
});

test('a request without the scope of its route gets 403 with a link to sign in for that scope', async () => {
  const page = await submitConsole({ row: 'PUT /data', body: '{}' });
  expect([page.status, apiRequests()]).toEqual([403, []]);
  expect(page.text).toMatch(
    /\/auth\/login\?return_to=%2Fauth%2Fresume%2F[\w-]+&(amp;|#38;)scope=write%3Adata/,
  );
});

test('the console enforces the rate limit of the route', async () => {
  const statuses = [await submitConsole({ row: 'POST /few' }), await submitConsole({ row: 'POST /few' })].map(
    ({ status }) => status,
  );
  expect(statuses).toEqual([201, 429]);
});

test('the console sends nothing for a user who is not signed in', async () => {
  const signedOutUser = world.browser();
  for (const row of ['POST /data', 'GET /data'])
    expect((await submitConsole({ row }, `${world.origin}/auth/developer`, signedOutUser)).status).toBe(401);
  expect(apiRequests()).toEqual([]);
});

test('the console rejects a form that was rendered for another user', async () => {
  const { session_mark } = (await browser.fetch('/auth/session')).json() as { session_mark: string };
  const statusWithTag = async (tag: string, row = 'POST /data') =>
    (await submitConsole({ row }, `${world.origin}/auth/developer`, browser, `?session=${tag}`)).status;
  for (const row of ['POST /data', 'GET /data']) expect(await statusWithTag('A'.repeat(16), row)).toBe(409);
  expect(apiRequests()).toEqual([]);
  expect([await statusWithTag(session_mark), apiRequests()]).toEqual([201, ['POST /v1/data']]);
});

test('the console accepts only POST', async () => {
  const page = await browser.step('/auth/console');
  expect([page.status, page.headers.allow]).toEqual([405, 'POST']);
});

test('the console rejects a body over 256 KB', async () => {
  const page = await submitConsole({ row: 'POST /data', type: 'form', body: 'x'.repeat(300_000) });
  expect([page.status, apiRequests()]).toEqual([413, []]);
});

test('the console rejects a compressed body', async () => {
  const response = await fetch(`${world.origin}/auth/console`, {
    method: 'POST',
    headers: {
      cookie: await browser.jar.getCookieString(world.origin),
      'sec-fetch-site': 'same-origin',
      'content-type': 'application/x-www-form-urlencoded',
      'content-encoding': 'gzip',
    },
    body: gzipSync('row=POST+%2Fdata'),
  });
  expect([response.status, apiRequests()]).toEqual([400, []]);
});

test('a form submitted after the session expired is saved, and the user can submit it after signing in', async () => {
  await world.clock.advance(week);
  const rejected = await submitConsole({
    row: 'POST /data',
    query: 'list=2',
    type: 'json',
    body: '{"title":"Paint"}',
  });
  expect(rejected.status).toBe(401);
  expect(rejected.text).toContain('saved your form for 30 minutes');
  expect(apiRequests()).toEqual([]);
  const page = await finishSignIn(browser, await browser.go(loginLinkOf(rejected)));
  expect(page.text).toContain('POST /api/data?list=2');
  expect((await browser.submit(page, {}, { action: '/auth/resume/' })).status).toBe(201);
  expect(apiRequests()).toEqual(['POST /v1/data?list=2']);
  expect(await bodyAtApi()).toEqual({ type: 'application/json', text: '{"title":"Paint"}' });
});

function loginLinkOf(page: Page): string {
  return /href="([^"]*\/auth\/login[^"]*)"/.exec(page.text)![1]!.replaceAll(/&(#38|amp);/g, '&');
}

test('a form that lacks a permission is saved, and the user can submit it after granting the permission', async () => {
  const user = world.browser();
  await world.signIn(user);
  const rejected = await submitConsole(
    { row: 'PUT /data', type: 'json', body: '{"title":"Paint"}' },
    `${world.origin}/auth/developer`,
    user,
  );
  expect(rejected.text).toContain('saved your form for 30 minutes');
  const page = await finishSignIn(user, await user.go(loginLinkOf(rejected)));
  expect(page.url).toContain('/auth/resume/');
  expect(page.text).toContain('PUT /api/data');
  expect((await user.submit(page, {}, { action: '/auth/resume/' })).status).toBe(200);
  expect(apiRequests()).toEqual(['PUT /v1/data']);
  expect(await bodyAtApi()).toEqual({ type: 'application/json', text: '{"title":"Paint"}' });
});

test('a form for which the API requires a newer login is saved too, as the API has refused it', async () => {
  recorder.respondWith((req, res) => {
    req.resume();
    res.writeHead(401, {
      'www-authenticate': 'Bearer error="insufficient_user_authentication", max_age="0"',
    });
    res.end();
  });
  const rejected = await submitConsole({ row: 'POST /data', type: 'json', body: '{"n":1}' });
  expect(rejected.status).toBe(401);
  expect(rejected.text).toMatch(/\/auth\/login\?return_to=%2Fauth%2Fresume%2F/);
});

test('JSON that was entered as form fields is not sent', async () => {
  const page = await submitConsole({ row: 'POST /data', type: 'form', body: 'a=1\n{"title": "x=y"}' });
  expect([page.status, apiRequests()]).toEqual([400, []]);
  expect(page.text).toContain('Line 2 isn&#39;t a form field.');
});

test('a file of a browser without JavaScript is forwarded as it is, with the guards of the route', async () => {
  const body = '--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nrose\r\n--b--\r\n';
  const sendFile = (row: string) =>
    browser.go(`/auth/console?${new URLSearchParams({ row })}`, {
      method: 'POST',
      headers: { 'content-type': 'multipart/form-data; boundary=b' },
      body,
    });
  await browser.go('/profile');
  expect((await sendFile('POST /data')).status).toBe(201);
  expect(await bodyAtApi()).toEqual({ type: 'multipart/form-data; boundary=b', text: body });
  const statuses = [];
  for (const row of ['GET /data', 'OPTIONS /data', 'DELETE /things/:id', 'POST /nothing', 'POST /few'])
    statuses.push((await sendFile(row)).status);
  expect(statuses).toEqual([400, 400, 400, 404, 429]);
  expect(apiRequests()).toEqual(['POST /v1/data']);
});

test('a form of a session that ended long ago is not even read', async () => {
  await world.clock.advance(10 * week);
  const large = 'x'.repeat(300_000);
  expect((await submitConsole({ row: 'POST /data', type: 'form', body: large })).status).toBe(401);
});
