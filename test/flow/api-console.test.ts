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

/** The console's form, sent from the profile page by a browser without script. */
const send = (
  fields: Readonly<Record<string, string>>,
  from = `${world.origin}/profile`,
  by = browser,
  address = '',
) =>
  by.go(`/console${address}`, {
    method: 'POST',
    from,
    headers: {
      'content-type': 'application/x-www-form-urlencoded',
      ...(from.startsWith(world.origin) && { referer: from }),
    },
    body: new URLSearchParams(fields).toString(),
  });
const arrived = () => recorder.requests.map(({ method, target }) => `${method} ${target}`);
const sent = async () => {
  const [{ headers, body } = { headers: [], body: undefined }] = recorder.requests;
  const type = headers.find(([name]) => name === 'content-type')?.[1];
  return { type, text: (await body)?.text };
};

test('a call that reads leads to its address below /api', async () => {
  const page = await send({ row: 'GET /things/:id', 'path.id': 'a b', query: 'x=1&y=ä' });
  expect([page.status, page.text]).toEqual([200, '{"recorded":true}']);
  expect(page.url).toBe(`${world.origin}/api/things/a%20b?x=1&y=%C3%A4`);
  expect(arrived()).toEqual(['GET /v1/things/a%20b?x=1&y=%C3%A4']);
});

test.each([
  ['json', '{"title": "Paint"}', { type: 'application/json', text: '{"title": "Paint"}' }],
  ['form', 'title=Paint it\r\nnote=<b>', formOf('title=Paint+it&note=%3Cb%3E')],
  ['form', 'title=a&note=b', formOf('title=a&note=b')],
  ['json', '', { type: undefined, text: '' }],
])('a body of the type %s is passed on: %j', async (type, body, expected) => {
  const page = await send({ row: 'POST /data', type, body });
  expect([page.status, page.text]).toEqual([201, '{"recorded":true}']);
  expect(arrived()).toEqual(['POST /v1/data']);
  expect(await sent()).toEqual(expected);
  expect(page.headers['content-security-policy']).toContain('sandbox'); // data, and no page of ours
  expect(page.headers['origin-agent-cluster']).toBeUndefined();
});

function formOf(text: string) {
  return { type: 'application/x-www-form-urlencoded', text };
}

test('a call without a body has the method of its row', async () => {
  expect((await send({ row: 'DELETE /things/:id', 'path.id': '7', body: 'not JSON' })).status).toBe(400);
  expect((await send({ row: 'DELETE /things/:id', 'path.id': '7' })).status).toBe(200);
  expect((await send({ row: 'OPTIONS /data', body: 'left out' })).status).toBe(200);
  expect(arrived()).toEqual(['DELETE /v1/things/7', 'OPTIONS /v1/data']);
});

test('parts of a path that are several stay several', async () => {
  await send({ row: 'GET /files/*rest', 'path.rest': 'a/b c/d' });
  await send({ row: 'POST /files/*rest', 'path.rest': 'a/b' });
  expect(arrived()).toEqual(['GET /v1/files/a/b%20c/d', 'POST /v1/files/a/b']);
});

test.each<[string, Readonly<Record<string, string>>, number]>([
  ['a parameter that is missing', { row: 'GET /things/:id' }, 400],
  ['a parameter of blanks', { row: 'GET /things/:id', 'path.id': '  ' }, 400],
  ['a parent directory', { row: 'GET /things/:id', 'path.id': '..' }, 400],
  ['a parent directory in a call that changes', { row: 'DELETE /things/:id', 'path.id': '..' }, 400],
  ['parents among the parts', { row: 'GET /files/*rest', 'path.rest': 'a/../../data' }, 400],
  ['parents among the parts of a change', { row: 'POST /files/*rest', 'path.rest': '../data' }, 400],
  ['an encoded parent', { row: 'GET /things/:id', 'path.id': '%2e%2e' }, 404],
  ['a slash', { row: 'GET /things/:id', 'path.id': '../data' }, 404],
  ['a slash in a change', { row: 'DELETE /things/:id', 'path.id': '7/8' }, 404],
  ['a backslash', { row: 'GET /things/:id', 'path.id': '..\\data' }, 404],
  ['another host', { row: 'GET /files/*rest', 'path.rest': '//evil.example' }, 404],
  ['a row that there is not', { row: 'GET /nothing' }, 404],
  ['a method the row has not', { row: 'PATCH /data' }, 404],
  ['a row that is a stream', { row: 'GET /events' }, 404],
  ['no row', {}, 404],
  ['what is not JSON', { row: 'POST /data', type: 'json', body: '{"title": ' }, 400],
])('%s is answered with a page that says so, and nothing is sent', async (_what, fields, status) => {
  const page = await send(fields);
  expect([page.status, arrived()]).toEqual([status, []]);
  expect(page.headers['content-type']).toContain('text/html');
});

test('a question mark or # within a parameter begins neither query nor fragment', async () => {
  await send({ row: 'GET /things/:id', 'path.id': 'a?b=1#c' });
  expect(arrived()).toEqual(['GET /v1/things/a%3Fb%3D1%23c'.replace('%3D', '=')]);
});

test('what is missing is named, and nothing is lost', async () => {
  const page = await send({ row: 'GET /things/:id', query: 'x="1"' });
  expect(page.text).toContain('<code>id</code>');
  expect(page.text).toContain('value="x=&#34;1&#34;"');
});

test('another site cannot send the form', async () => {
  for (const from of ['https://evil.example/', 'http://localhost:1/'])
    expect((await send({ row: 'POST /data' }, from)).status).toBe(403);
  expect(arrived()).toEqual([]);
});

test('the scope of the row is asked for, and the page leads to granting it', async () => {
  const page = await send({ row: 'PUT /data', body: '{}' });
  expect([page.status, arrived()]).toEqual([403, []]);
  expect(page.text).toMatch(/\/auth\/login\?return_to=%2Fprofile&(amp;|#38;)scope=write%3Adata/);
});

test('the limit of the row counts', async () => {
  const statuses = [await send({ row: 'POST /few' }), await send({ row: 'POST /few' })].map(
    ({ status }) => status,
  );
  expect(statuses).toEqual([201, 429]);
});

test('nobody but who is signed in sends anything', async () => {
  const stranger = world.browser();
  for (const row of ['POST /data', 'GET /data'])
    expect((await send({ row }, `${world.origin}/profile`, stranger)).status).toBe(401);
  expect(arrived()).toEqual([]);
});

test('a page of somebody else sends nothing', async () => {
  const { session_mark } = (await browser.fetch('/auth/session')).json() as { session_mark: string };
  const statusOf = async (mark: string) =>
    (await send({ row: 'POST /data' }, `${world.origin}/profile`, browser, `?session=${mark}`)).status;
  expect([await statusOf('A'.repeat(16)), arrived()]).toEqual([409, []]);
  expect([await statusOf(session_mark), arrived()]).toEqual([201, ['POST /v1/data']]);
});

test('the form takes no other method', async () => {
  const page = await browser.step('/console');
  expect([page.status, page.headers.allow]).toEqual([405, 'POST']);
});

test('more than a console has use for is refused', async () => {
  const page = await send({ row: 'POST /data', type: 'form', body: 'x'.repeat(300_000) });
  expect([page.status, arrived()]).toEqual([413, []]);
});

test('what meets the end of the session waits for its person, and is sent when they say so', async () => {
  world.clock.advance(week);
  const refused = await send({ row: 'POST /data', query: 'list=2', type: 'json', body: '{"title":"Paint"}' });
  expect(refused.status).toBe(401);
  expect(refused.text).toContain('kept for half an hour');
  expect(arrived()).toEqual([]);
  const page = await finishSignIn(browser, await browser.go(loginLinkOf(refused)));
  expect(page.text).toContain('POST /api/data?list=2');
  expect((await browser.submit(page, {}, { action: '/resume/' })).status).toBe(201);
  expect(arrived()).toEqual(['POST /v1/data?list=2']);
  expect(await sent()).toEqual({ type: 'application/json', text: '{"title":"Paint"}' });
});

function loginLinkOf(page: Page): string {
  return /href="([^"]*\/auth\/login[^"]*)"/.exec(page.text)![1]!.replaceAll(/&(#38|amp);/g, '&');
}
