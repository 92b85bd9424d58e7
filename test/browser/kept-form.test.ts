import type { Page } from 'playwright-core';
import { type Recorder, startRecorder } from '../hostile/support/recorder.ts';
import { expectAccessible } from '../support/accessibility.ts';
import { visit } from '../support/chromium.ts';
import { createWorld, type World } from '../support/world.ts';
import { signIn, signInAtProvider } from './support/sign-in.ts';

let world: World;
let recorder: Recorder;
beforeAll(async () => {
  recorder = await startRecorder();
  world = await createWorld({
    env: { OAUTH2_API_BASE_URL: recorder.url, OAUTH2_SCOPES: 'openid profile read:data write:data' },
  });
});
afterAll(async () => {
  await world.close();
  await recorder.close();
});

/** A form of one of our pages, filled in and sent. */
const sendForm = (page: Page) =>
  page.evaluate(`
    const form = Object.assign(document.createElement('form'), { method: 'post', action: '/api/data' });
    form.append(Object.assign(document.createElement('input'), { name: 'title', value: 'Paint the roses <b>red</b>' }));
    form.append(Object.assign(document.createElement('textarea'), { name: 'note', value: 'x'.repeat(300) }));
    document.body.append(form);
    form.submit();
  `);
const sent = () => recorder.requests.filter(({ method }) => method === 'POST');

test('who typed for longer than the session lived signs in, sees what they entered, and sends it once', async () => {
  const alice = await visit(world);
  const page = await alice.openTab();
  await signIn(page);
  world.clock.advance(604_800);
  alice.expectStatus(401, 404);

  await sendForm(page);
  await page.getByText('What you entered is kept for half an hour').waitFor();
  await page.getByRole('link', { name: 'Sign in' }).click(); // the provider still knows her: no page of its own
  await page.getByRole('heading', { name: 'Send what you entered?' }).waitFor();
  await page.getByText('Paint the roses <b>red</b>', { exact: true }).waitFor();
  await page.setViewportSize({ width: 320, height: 640 });
  expect(await page.evaluate('document.documentElement.scrollWidth - innerWidth')).toBeLessThanOrEqual(0);
  await expectAccessible(page);
  expect(sent()).toHaveLength(0);

  const address = page.url();
  await page.getByRole('button', { name: 'Send it now' }).click();
  await page.getByText('{"recorded":true}').waitFor();
  expect(sent()).toHaveLength(1);
  const body = new URLSearchParams((await sent()[0]!.body).text);
  expect(Object.fromEntries(body)).toEqual({ title: 'Paint the roses <b>red</b>', note: 'x'.repeat(300) });

  await page.goto(address);
  await page.getByRole('heading', { name: 'There is nothing to send here' }).waitFor();
  await expectAccessible(page);
  expect(sent()).toHaveLength(1);
});

test('whoever signs in instead finds nothing, and nothing is sent in their name', async () => {
  recorder.requests.length = 0;
  const shared = await visit(world);
  const page = await shared.openTab();
  await signIn(page);
  world.clock.advance(604_800);
  shared.expectStatus(401, 404);
  await sendForm(page);
  const login = page.getByRole('link', { name: 'Sign in' });
  await login.waitFor();
  await shared.context.clearCookies({ name: /^_/ }); // Alice has left the provider
  await login.click();
  await signInAtProvider(page, 'bob');
  await page.getByRole('button', { name: 'Allow' }).click();
  await page.getByRole('heading', { name: 'There is nothing to send here' }).waitFor();
  expect(sent()).toHaveLength(0);
});
