import type { Page } from 'playwright-core';
import { type Recorder, startRecorder } from '../hostile/support/recorder.ts';
import { visit } from '../support/chromium.ts';
import { writeRoutesFile } from '../support/routes-file.ts';
import { createWorld, type World } from '../support/world.ts';

const script = '/api/files/evil.js';
const image = '<svg xmlns="http://www.w3.org/2000/svg" width="7" height="7"/>';

let world: World;
let recorder: Recorder;
let page: Page;
beforeAll(async () => {
  recorder = await startRecorder();
  const files = { path: '/files/:name', target: '/:name', methods: { GET: {} }, token: 'none' };
  world = await createWorld({
    store: 'memory',
    env: { OAUTH2_API_BASE_URL: recorder.url, API_ROUTES_FILE: writeRoutesFile([files]) },
  });
  recorder.respondWith((req, res) => {
    const isScript = req.url?.endsWith('.js');
    res.writeHead(200, { 'content-type': isScript ? 'text/javascript' : 'image/svg+xml' });
    res.end(isScript ? 'globalThis.evil = true' : image);
  });
});
afterAll(async () => {
  await world.close();
  await recorder.close();
});
beforeEach(async () => {
  const { context } = await visit(world);
  // a context of its own, because every refusal is an error on the console
  page = await (await context.browser()!.newContext()).newPage();
});
afterEach(() => page.context().close());

/** What happens to each way of running a file of the API; `fetch` and images show that the file is there. */
const attempts = `(async () => {
  const load = (tag, attributes) => new Promise((resolve) => {
    const element = Object.assign(document.createElement(tag), attributes);
    element.onload = () => resolve('loaded');
    element.onerror = () => resolve('refused');
    document.body.append(element);
  });
  const settle = (start) => Promise.resolve().then(start).then(() => 'loaded', () => 'refused');
  const worker = (Kind) => new Promise((resolve) => {
    try {
      const worker = new Kind('${script}');
      (globalThis.workers ??= []).push(worker); // one that is garbage reports nothing
      worker.onerror = () => resolve('refused');
      (worker.port ?? worker).onmessage = () => resolve('loaded');
    } catch { resolve('refused'); }
  });
  return {
    script: await load('script', { src: '${script}' }),
    module: await settle(() => import('${script}')),
    style: await load('link', { rel: 'stylesheet', href: '/api/files/evil.css' }),
    worker: await worker(Worker),
    shared: await worker(SharedWorker),
    serviceWorker: await settle(() => navigator.serviceWorker.register('${script}')),
    image: await load('img', { src: '/api/files/a.svg' }),
    fetch: await settle(() => fetch('${script}').then((response) => response.ok || Promise.reject())),
    ran: 'evil' in globalThis,
  };
})()`;
const refused = {
  ...{ script: 'refused', module: 'refused', style: 'refused' },
  ...{ worker: 'refused', shared: 'refused', serviceWorker: 'refused' },
  ...{ image: 'loaded', fetch: 'loaded', ran: false },
};

test('no file of the API runs on a page of Latchkey', async () => {
  await page.goto(`${world.origin}/`);
  expect(await page.evaluate(attempts)).toEqual(refused);
});

test('no file of the API runs on a page of the same origin that has no content security policy', async () => {
  await page.route('**/spa', (route) =>
    route.fulfill({ contentType: 'text/html', body: '<!doctype html><body>' }),
  );
  await page.goto(`${world.origin}/spa`);
  expect(await page.evaluate(attempts)).toEqual(refused);
});
