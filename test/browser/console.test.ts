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
        {
          path: '/data/:id/:part',
          target: '/data/:id/:part',
          methods: { PUT: { example: { parameters: { id: 'a' }, body: { n: 1, s: 'x' } } } },
        },
        {
          path: '/files',
          target: '/files',
          methods: { POST: { allOf: ['write:data'], example: { file: true } } },
        },
        { path: '/open', target: '/open', methods: { GET: {} }, token: 'none' },
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
  await signIn(page, 'alice', '/auth/developer');
  recorder.requests.length = 0;
});

const getConsole = (at = page) => at.getByRole('region', { name: 'Try the API' });
const getHeading = () => getConsole().getByRole('heading', { level: 3 });
const getResponseBody = () => getConsole().getByLabel('Response', { exact: true });
const setApiResponse = (status: number, type: string, body: string) =>
  recorder.respondWith((req, res) => {
    req.resume();
    res.writeHead(status, { 'content-type': type, 'x-own': 'yes' }).end(body);
  });

/** Opens a row of the console, fills in its fields and sends it. */
async function call(row: string, fields: Readonly<Record<string, string>> = {}, at = page): Promise<void> {
  const [method, path] = row.split(' ');
  const group = getConsole(at)
    .getByRole('group')
    .filter({ hasText: `${method} /api${path}` });
  if ((await group.getAttribute('open')) === null) await group.locator('summary').first().click();
  for (const [label, value] of Object.entries(fields))
    await group.getByRole('textbox', { name: label }).fill(value);
  await getConsole(at)
    .getByRole('button', { name: `Send ${row}`, exact: true })
    .click();
}

test('a call shows status, duration, headers and formatted JSON, and moves the focus to the result', async () => {
  setApiResponse(200, 'application/json', '{"a":{"b":[1]}}');
  await call('GET /data', { Query: 'x=1&y=a b' });
  await getConsole()
    .getByText(/^200 OK in \d+ ms$/)
    .waitFor();
  expect(recorder.requests.map(({ target }) => target)).toEqual(['/data?x=1&y=a+b']);
  expect(await getResponseBody().textContent()).toBe('{\n  "a": {\n    "b": [\n      1\n    ]\n  }\n}');
  await getConsole().locator('summary', { hasText: 'Response headers' }).click();
  expect(await getConsole().getByLabel('Response headers').textContent()).toContain('x-own: yes');
  expect(await page.evaluate('document.activeElement.tagName')).toBe('SUMMARY');
  await call('GET /data');
  await page.waitForFunction("document.activeElement.tagName === 'H3'");
  await expectAccessible(page);
  const overflow = 'document.documentElement.scrollWidth - document.documentElement.clientWidth';
  expect(await page.evaluate(overflow)).toBe(0);
});

test('a body is sent as JSON or as a form, with the parameters in the path', async () => {
  await call('PUT /data/:id/:part', { id: 'a', part: 'c d', 'or one field per line': '{"n": 1}' });
  await getHeading().filter({ hasText: '200 OK' }).waitFor();
  await getConsole()
    .getByRole('group')
    .filter({ hasText: 'POST /api/data' })
    .locator('summary')
    .first()
    .click();
  await getConsole().getByRole('radio', { name: 'Form', exact: true }).first().check();
  await call('POST /data', { 'or one field per line': 'a=1\nb=ä' });
  await getHeading().filter({ hasText: '201 Created' }).waitFor();
  const sent = recorder.requests.map(async ({ method, target, headers, body }) => {
    const type = headers.find(([name]) => name === 'content-type')?.[1];
    return [`${method} ${target}`, type, (await body).text];
  });
  expect(await Promise.all(sent)).toEqual([
    ['PUT /data/a/c%20d', 'application/json', '{"n": 1}'],
    ['POST /data', 'application/x-www-form-urlencoded;charset=UTF-8', 'a=1&b=%C3%A4'],
  ]);
});

test('the console shows which request headers were not forwarded to the API', async () => {
  await call('GET /data', { 'Request headers': 'X-File-Name: a.txt\nprefer: return=minimal' });
  await getConsole().getByText('Not forwarded to the API: x-file-name.').waitFor();
  const names = recorder.requests[0]!.headers.map(([name]) => name);
  expect([names.includes('prefer'), names.includes('x-file-name')]).toEqual([true, false]);
  await call('GET /data', { 'Request headers': 'no header' });
  await getConsole().getByRole('alert').getByText("This isn't a header").waitFor();
  expect(recorder.requests).toHaveLength(1);
});

test('invalid input is reported at once: nothing is sent, and the input stays', async () => {
  await call('POST /data', { 'or one field per line': '{"title": ' });
  await getConsole().getByText("This isn't valid JSON. The mistake is in line 1, at character 11.").waitFor();
  expect(await page.evaluate('document.activeElement.value')).toBe('{"title": ');
  await call('PUT /data/:id/:part', { id: '..', part: 'x' });
  await getConsole().getByRole('alert').getByText('Enter a value for “id”').waitFor();
  expect(await page.evaluate('document.activeElement.name')).toBe('path.id');
  expect(await page.evaluate('document.activeElement.ariaInvalid')).toBe('true');
  const message = 'document.activeElement.closest(".field").nextElementSibling';
  expect(
    await page.evaluate(`${message}.id === document.activeElement.getAttribute("aria-describedby")`),
  ).toBe(true);
  expect(recorder.requests).toEqual([]);
  await expectAccessible(page);
});

test.each([
  [404, '{"error":"not_found"}', 'There is nothing at this address'],
  [409, '{"problem":"taken"}', 'The API rejected this request'],
  [500, '<h1>Oh</h1>', 'Something went wrong on the server'],
])('a %i response from the API is shown and explained', async (status, body, explanation) => {
  visitor.expectStatus(status);
  setApiResponse(status, body.startsWith('<') ? 'text/html' : 'application/json', body);
  await call('GET /data');
  await getConsole().getByText(explanation).waitFor();
  await getHeading()
    .filter({ hasText: String(status) })
    .waitFor();
  expect(await getResponseBody().textContent()).toContain(body.slice(2, 8));
});

test('the console explains that the API cannot be reached', async () => {
  visitor.expectStatus(502);
  recorder.respondWith((req) => req.socket.destroy());
  await call('GET /data');
  await getConsole().getByText("The API can't be reached right now").waitFor();
});

test('a missing permission can be granted from the response', async () => {
  visitor.expectStatus(403);
  await call('GET /secret');
  await getConsole().getByText("access you haven't granted: write:data").waitFor();
  await getConsole().getByRole('link', { name: 'Grant write:data' }).click();
  await page.getByRole('button', { name: 'Allow' }).click();
  await page.waitForURL('/auth/developer');
  await page.waitForLoadState();
  await call('GET /secret');
  await getHeading().filter({ hasText: '200 OK' }).waitFor();
});

test('a 429 response shows when to retry', async () => {
  visitor.expectStatus(429);
  await call('GET /few');
  await getHeading().filter({ hasText: '200 OK' }).waitFor();
  await call('GET /few');
  await getConsole()
    .getByText(/You can try again in \d+\sseconds?\./)
    .waitFor();
});

test('when the session has ended, a call hides the page, and the input stays', async () => {
  visitor.expectStatus(401);
  await visitor.context.clearCookies({ name: /^latchkey-\d+$/ });
  await call('POST /data', { 'or one field per line': '{"title":"Paint"}' });
  await page.getByRole('alert').filter({ hasText: "You've been signed out" }).waitFor();
  expect(await page.locator('textarea[name=body]').first().inputValue()).toBe('{"title":"Paint"}');
});

test('a long response is cut off, and for a binary response only the type is shown', async () => {
  setApiResponse(200, 'text/plain', 'x'.repeat(300_000));
  await call('GET /data');
  await getConsole().getByText('Only the first 100,000 characters').waitFor();
  expect((await getResponseBody().textContent())!).toHaveLength(100_000);
  setApiResponse(200, 'image/png', 'PNG');
  await call('GET /data');
  await getConsole().getByText("isn't text (image/png)").waitFor();
  expect(await getResponseBody().textContent()).toBe('');
});

test('the console offers neither WebSocket routes nor HEAD', async () => {
  expect(await getConsole().locator('form').count()).toBe(7);
  expect(await getConsole().getByText('/api/talk').count()).toBe(0);
});

test('choosing another kind of body rewrites it, and text of the wrong kind is not sent', async () => {
  const row = getConsole().getByRole('group').filter({ hasText: 'PUT /api/data' });
  await row.locator('summary').first().click();
  const content = row.getByRole('textbox', { name: 'or one field per line' });
  const example = await content.inputValue();
  expect([await row.getByRole('textbox', { name: 'id' }).inputValue(), JSON.parse(example)]).toEqual([
    'a',
    { n: 1, s: 'x' },
  ]);
  await row.getByRole('radio', { name: 'Form', exact: true }).check();
  expect(await content.inputValue()).toBe('n=1\ns=x');
  await row.getByRole('radio', { name: 'JSON' }).check();
  expect(await content.inputValue()).toBe(example); // the number is a number again
  await row.getByRole('radio', { name: 'Form', exact: true }).check();
  await call('PUT /data/:id/:part', { part: 'b', 'or one field per line': '{"a": {}}' });
  await row.getByRole('alert').getByText("Line 1 isn't a form field").waitFor();
  expect(recorder.requests).toEqual([]);
});

test('a row says whose token it sends, and shows nothing of that for the token of the user', async () => {
  const noteOf = (path: string) =>
    getConsole().getByRole('group').filter({ hasText: path }).getByText('Sent ').allTextContents();
  expect([await noteOf('GET /api/open'), await noteOf('GET /api/secret')]).toEqual([
    ['Sent without a token.'],
    [],
  ]);
});

const file = { name: 'rose.bin', mimeType: 'application/x-rose', buffer: Buffer.from('a rose') };

test('what was entered is there again after a step-up, and files are sent alone or in a form', async () => {
  visitor.expectStatus(403);
  const row = getConsole().getByRole('group').filter({ hasText: 'POST /api/files' });
  await call('POST /files', { Query: 'a=1' });
  await row.getByRole('alert').getByText('Choose a file').waitFor();
  await row.getByLabel('File', { exact: true }).last().setInputFiles(file);
  await row.getByRole('radio', { name: 'File in a form' }).check();
  await row.getByRole('textbox', { name: 'Name of the form field' }).fill('flower');
  await call('POST /files', { 'Request headers': 'prefer: return=minimal' });
  await getConsole().getByRole('link', { name: 'Grant write:data' }).click();
  await page.getByRole('button', { name: 'Allow' }).click();
  await page.waitForURL('/auth/developer');
  await page.waitForLoadState();
  expect(await row.getAttribute('open')).toBe('');
  expect(await row.getByLabel('Query').inputValue()).toBe('a=1');
  expect(await row.getByLabel('Request headers').inputValue()).toBe('prefer: return=minimal');
  expect(await page.evaluate("sessionStorage.getItem('latchkey-console')")).toBeNull();
  await row.locator('input[type=file]').first().setInputFiles(file); // no page may choose a file
  await call('POST /files');
  await getHeading().filter({ hasText: '201 Created' }).waitFor();
  await row.getByRole('radio', { name: 'File', exact: true }).check();
  const answered = page.waitForResponse(/api\/files/);
  await call('POST /files');
  await answered;
  const [form, alone] = await Promise.all(recorder.requests.map(async ({ body }) => (await body).text));
  expect(form).toMatch(
    /name="flower"; filename="rose.bin"\r\nContent-Type: application\/x-rose\r\n\r\na rose/,
  );
  expect(alone).toBe('a rose');
});

test('nothing that a user has entered is shown to the next user of the same tab', async () => {
  visitor.expectStatus(403);
  await call('GET /secret', { Query: 'mine=1' });
  await getConsole().getByRole('link', { name: 'Grant write:data' }).click();
  await page.getByRole('button', { name: 'Allow' }).waitFor();
  await page.context().clearCookies();
  const bob = await visitor.openTab(); // becomes the user of this browser
  await signIn(bob, 'bob');
  await page.goto('/auth/developer');
  expect(await page.evaluate("sessionStorage.getItem('latchkey-console')")).toBeNull();
  expect(await getConsole().getByLabel('Query').first().inputValue()).toBe('');
  expect(await page.content()).not.toContain('mine=1');
});

test('without JavaScript, the responses are in new tabs, so that the page and its input stay', async () => {
  const plain = await visit(world, { javaScriptEnabled: false });
  const tab = await plain.openTab();
  await signIn(tab, 'alice', '/auth/developer');
  const headers = getConsole(tab).getByLabel('Request headers').first();
  expect(await headers.isVisible()).toBe(false); // a form cannot send them
  const callInNewTab = async (row: string, fields: Readonly<Record<string, string>>) => {
    const opened = plain.context.waitForEvent('page');
    await call(row, fields, tab);
    return opened;
  };
  const first = await callInNewTab('GET /data', { Query: 'x=1' });
  await first.waitForURL('/api/data?x=1');
  await first.close();
  const second = await callInNewTab('POST /data', { 'or one field per line': '{"title":"Paint"}' });
  await second.getByText('{"recorded":true}').waitFor();
  expect(await recorder.requests.at(-1)?.body).toMatchObject({ text: '{"title":"Paint"}' });
  expect(await getConsole(tab).getByLabel('Query').first().inputValue()).toBe('x=1');
  const upload = getConsole(tab).locator('details[open] noscript form');
  await upload.locator('input').setInputFiles(file);
  const third = plain.context.waitForEvent('page');
  await upload.getByRole('button', { name: 'Send a file:' }).click();
  await (await third).getByText('{"recorded":true}').waitFor();
  expect((await recorder.requests.at(-1)?.body)?.text).toContain('a rose');
});

test('without JavaScript, invalid input leads to a page that shows the form again with all the input kept', async () => {
  visitor.expectStatus(400);
  const row = getConsole().getByRole('group').filter({ hasText: 'PUT /api/data' });
  await row.locator('summary').first().click();
  await row.getByRole('textbox', { name: 'id' }).fill('');
  await row.getByRole('textbox', { name: 'part' }).fill('c "d"');
  await row.getByRole('radio', { name: 'Form', exact: true }).check();
  await row.getByRole('textbox', { name: 'or one field per line' }).fill('a=<b>');
  const form = 'document.querySelector(\'form[action^="/auth/console"]:has([name="path.id"])\')';
  // Fires no submit event, so the page's scripts do not see it.
  await page.evaluate(`{ const form = ${form}; form.target = ''; form.submit(); }`);
  await page.getByRole('heading', { name: 'Request not sent' }).waitFor();
  await page.getByText('Enter a value for “id”').waitFor();
  await expectAccessible(page);
  await page.getByRole('textbox', { name: 'id' }).fill('a');
  await page.getByRole('button', { name: 'Send PUT /data/:id/:part' }).click();
  await page.getByText('{"recorded":true}').waitFor();
  expect(recorder.requests.map(({ method, target }) => `${method} ${target}`)).toEqual([
    'PUT /data/a/c%20%22d%22',
  ]);
  expect(await recorder.requests[0]?.body).toMatchObject({ text: 'a=%3Cb%3E' });
});
