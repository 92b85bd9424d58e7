import type { Page } from 'playwright-core';
import { type Recorder, startRecorder } from '../hostile/support/recorder.ts';
import { expectAccessible } from '../support/accessibility.ts';
import { type Visitor, visit } from '../support/chromium.ts';
import { writeRoutesFile } from '../support/routes-file.ts';
import { createWorld, type World } from '../support/world.ts';
import { signIn } from './support/sign-in.ts';

let world: World;
let recorder: Recorder;
let visitor: Visitor;
let page: Page;
beforeAll(async () => {
  recorder = await startRecorder();
  world = await createWorld({
    env: {
      OAUTH2_API_BASE_URL: recorder.url,
      OAUTH2_SCOPES: 'openid profile read:profile',
      API_ROUTES_FILE: writeRoutesFile([
        { path: '/data', target: '/data', methods: { GET: {}, HEAD: {}, POST: {} } },
        { path: '/data/:id/:part', target: '/data/:id/:part', methods: { PUT: {} } },
        { path: '/secret', target: '/secret', methods: { GET: { allOf: ['write:data'] } } },
        { path: '/few', target: '/few', methods: { GET: {} }, rateLimit: { limit: 1, windowSeconds: 60 } },
        { path: '/talk', target: '/talk', methods: { GET: {} }, webSocket: true },
      ]),
    },
  });
});
afterAll(async () => {
  await world.close();
  await recorder.close();
});
beforeEach(async () => {
  recorder.respondWith(undefined);
  visitor = await visit(world, { viewport: { width: 320, height: 640 } });
  page = await visitor.openTab();
  await signIn(page);
  await page.waitForLoadState();
  recorder.requests.length = 0;
});

const area = (at = page) => at.getByRole('region', { name: 'Try the API' });
const heading = () => area().getByRole('heading', { level: 3 });
const answer = () => area().getByLabel('The answer', { exact: true });
const answerWith = (status: number, type: string, body: string) =>
  recorder.respondWith((req, res) => {
    req.resume();
    res.writeHead(status, { 'content-type': type, 'x-own': 'yes' }).end(body);
  });

/** Opens a row of the console, fills it and sends it. */
async function call(row: string, fields: Readonly<Record<string, string>> = {}, at = page): Promise<void> {
  const [method, path] = row.split(' ');
  const group = area(at)
    .getByRole('group')
    .filter({ hasText: `${method} /api${path}` });
  if ((await group.getAttribute('open')) === null) await group.locator('summary').first().click();
  for (const [label, value] of Object.entries(fields))
    await group.getByRole('textbox', { name: label }).fill(value);
  await area(at)
    .getByRole('button', { name: `Send ${row}`, exact: true })
    .click();
}

test('a call shows its status, its time, headers and readable JSON, and the focus goes there', async () => {
  answerWith(200, 'application/json', '{"a":{"b":[1]}}');
  await call('GET /data', { Query: 'x=1&y=a b' });
  await area()
    .getByText(/^200 OK after \d+ ms$/)
    .waitFor();
  expect(recorder.requests.map(({ target }) => target)).toEqual(['/data?x=1&y=a+b']);
  expect(await answer().textContent()).toBe('{\n  "a": {\n    "b": [\n      1\n    ]\n  }\n}');
  await area().locator('summary', { hasText: 'Headers' }).click();
  expect(await area().getByLabel('Headers of the answer').textContent()).toContain('x-own: yes');
  expect(await page.evaluate('document.activeElement.tagName')).toBe('SUMMARY');
  await call('GET /data');
  await page.waitForFunction("document.activeElement.tagName === 'H3'");
  await expectAccessible(page);
  const overflow = 'document.documentElement.scrollWidth - document.documentElement.clientWidth';
  expect(await page.evaluate(overflow)).toBe(0);
});

test('a body is sent as JSON or as a form, and parameters stand in the path', async () => {
  await call('PUT /data/:id/:part', { id: 'a', part: 'c d', 'or one name=value': '{"n": 1}' });
  await heading().filter({ hasText: '200 OK' }).waitFor();
  await area().getByRole('group').filter({ hasText: 'POST /api/data' }).locator('summary').first().click();
  await area().getByRole('radio', { name: 'Form' }).first().check();
  await call('POST /data', { 'or one name=value': 'a=1\nb=ä' });
  await heading().filter({ hasText: '201 Created' }).waitFor();
  const sent = recorder.requests.map(async ({ method, target, headers, body }) => {
    const type = headers.find(([name]) => name === 'content-type')?.[1];
    return [`${method} ${target}`, type, (await body).text];
  });
  expect(await Promise.all(sent)).toEqual([
    ['PUT /data/a/c%20d', 'application/json', '{"n": 1}'],
    ['POST /data', 'application/x-www-form-urlencoded;charset=UTF-8', 'a=1&b=%C3%A4'],
  ]);
});

test('what cannot be sent is said at once, nothing is lost and nothing sent', async () => {
  await call('POST /data', { 'or one name=value': '{"title": ' });
  await area().getByRole('alert').getByText('What you entered is not JSON').waitFor();
  expect(await page.evaluate('document.activeElement.value')).toBe('{"title": ');
  await call('PUT /data/:id/:part', { id: '..', part: 'x' });
  await area().getByRole('alert').getByText('must be filled in').waitFor();
  expect(await page.evaluate('document.activeElement.name')).toBe('path.id');
  expect(recorder.requests).toEqual([]);
  await expectAccessible(page);
});

test.each([
  [404, '{"error":"not_found"}', 'There is nothing at this address'],
  [409, '{"problem":"taken"}', 'The API did not accept this'],
  [500, '<h1>Oh</h1>', 'Something went wrong there'],
])('an answer %i of the API is shown and explained', async (status, body, explanation) => {
  visitor.expectStatus(status);
  answerWith(status, body.startsWith('<') ? 'text/html' : 'application/json', body);
  await call('GET /data');
  await area().getByText(explanation).waitFor();
  await heading()
    .filter({ hasText: String(status) })
    .waitFor();
  expect(await answer().textContent()).toContain(body.slice(2, 8));
});

test('an API that cannot be reached is explained', async () => {
  visitor.expectStatus(502);
  recorder.respondWith((req) => req.socket.destroy());
  await call('GET /data');
  await area().getByText('The API cannot be reached right now').waitFor();
});

test('a permission that is missing can be granted from the answer', async () => {
  visitor.expectStatus(403);
  await call('GET /secret');
  await area().getByText('permission that you have not given: write:data').waitFor();
  await area().getByRole('link', { name: 'Grant write:data' }).click();
  await page.getByRole('button', { name: 'Allow' }).click();
  await page.waitForURL('/profile');
  await page.waitForLoadState();
  await call('GET /secret');
  await heading().filter({ hasText: '200 OK' }).waitFor();
});

test('a limit says when the next call is welcome', async () => {
  visitor.expectStatus(429);
  await call('GET /few');
  await heading().filter({ hasText: '200 OK' }).waitFor();
  await call('GET /few');
  await area()
    .getByText(/You can try again in \d+ s/)
    .waitFor();
});

test('a session that has ended is explained, and what was entered stays', async () => {
  visitor.expectStatus(401);
  await visitor.context.clearCookies({ name: 'latchkey' });
  await call('POST /data', { 'or one name=value': '{"title":"Paint"}' });
  await area().getByText('Your session has ended').waitFor();
  await page.getByRole('alert').filter({ hasText: 'You were signed out' }).waitFor();
  expect(await area().getByLabel('or one name=value').first().inputValue()).toBe('{"title":"Paint"}');
});

test('an answer that is long is cut, and one that is no text is only named', async () => {
  answerWith(200, 'text/plain', 'x'.repeat(300_000));
  await call('GET /data');
  await area().getByText('Only the first 100000 characters').waitFor();
  expect((await answer().textContent())!).toHaveLength(100_000);
  answerWith(200, 'image/png', 'PNG');
  await call('GET /data');
  await area().getByText('not text (image/png)').waitFor();
  expect(await answer().textContent()).toBe('');
});

test('the console offers neither what goes on until someone leaves, nor HEAD', async () => {
  expect(await area().locator('form').count()).toBe(5);
  expect(await area().getByText('/api/talk').count()).toBe(0);
});

test('without script the same forms lead to the answer', async () => {
  const plain = await visit(world, { javaScriptEnabled: false });
  const tab = await plain.openTab();
  await signIn(tab);
  await call('GET /data', { Query: 'x=1' }, tab);
  await tab.waitForURL('/api/data?x=1');
  await tab.goBack({ waitUntil: 'commit' });
  await call('POST /data', { 'or one name=value': '{"title":"Paint"}' }, tab);
  await tab.getByText('{"recorded":true}').waitFor();
  expect(await recorder.requests.at(-1)?.body).toMatchObject({ text: '{"title":"Paint"}' });
  await tab.goBack({ waitUntil: 'commit' });
});

test('what cannot be sent comes back without script as a page, with everything that was entered', async () => {
  visitor.expectStatus(400);
  const row = area().getByRole('group').filter({ hasText: 'PUT /api/data' });
  await row.locator('summary').first().click();
  await row.getByRole('textbox', { name: 'part' }).fill('c "d"');
  await row.getByRole('radio', { name: 'Form' }).check();
  await row.getByRole('textbox', { name: 'or one name=value' }).fill('a=<b>');
  const form = 'document.querySelector(\'form[action^="/console"]:has([name="path.id"])\')';
  await page.evaluate(`${form}.submit()`); // not seen by scripts
  await page.getByRole('heading', { name: 'Nothing was sent yet' }).waitFor();
  await page.getByText('id: This part of the address must be filled in').waitFor();
  await expectAccessible(page);
  await page.getByRole('textbox', { name: 'id' }).fill('a');
  await page.getByRole('button', { name: 'Send PUT /data/:id/:part' }).click();
  await page.getByText('{"recorded":true}').waitFor();
  expect(recorder.requests.map(({ method, target }) => `${method} ${target}`)).toEqual([
    'PUT /data/a/c%20%22d%22',
  ]);
  expect(await recorder.requests[0]?.body).toMatchObject({ text: 'a=%3Cb%3E' });
});
