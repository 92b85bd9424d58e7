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

/** Submits a filled-in form from a page of Latchkey's origin. */
const submitForm = (page: Page) =>
  page.evaluate(`
    const form = Object.assign(document.createElement('form'), { method: 'post', action: '/api/data' });
    form.append(Object.assign(document.createElement('input'), { name: 'title', value: 'Paint the roses <b>red</b>' }));
    form.append(Object.assign(document.createElement('textarea'), { name: 'note', value: 'x'.repeat(300) }));
    form.append(Object.assign(document.createElement('input'), { name: 'place', value: '' }));
    document.body.append(form);
    form.submit();
  `);
const sentToApi = () => recorder.requests.filter(({ method }) => method === 'POST');

test('a user whose session expired while typing signs in, sees the saved form and submits it once', async () => {
  const alice = await visit(world);
  const page = await alice.openTab();
  await signIn(page);
  await world.clock.advance(604_800);
  alice.expectStatus(401, 404);

  await submitForm(page);
  await page.getByText("We've saved your form").waitFor();
  await page.getByRole('main').getByRole('link', { name: 'Sign in' }).click(); // the provider redirects at once
  await page.getByRole('heading', { name: 'Submit your form?' }).waitFor();
  await page.getByText('Paint the roses <b>red</b>', { exact: true }).waitFor();
  await page.getByText('(empty)').waitFor();
  await page.getByText('This is a preview').waitFor();
  await page.setViewportSize({ width: 320, height: 640 });
  expect(await page.evaluate('document.documentElement.scrollWidth - innerWidth')).toBeLessThanOrEqual(0);
  await expectAccessible(page);
  expect(sentToApi()).toHaveLength(0);

  const formUrl = page.url();
  await page.getByRole('button', { name: 'Submit now' }).click();
  await page.getByText('{"recorded":true}').waitFor();
  expect(sentToApi()).toHaveLength(1);
  const body = new URLSearchParams((await sentToApi()[0]!.body).text);
  expect(Object.fromEntries(body)).toEqual({
    title: 'Paint the roses <b>red</b>',
    note: 'x'.repeat(300),
    place: '',
  });

  await page.goto(formUrl);
  await page.getByRole('heading', { name: 'There is no saved form here' }).waitFor();
  await expectAccessible(page);
  expect(sentToApi()).toHaveLength(1);
});

test('a different user who signs in sees no saved form, and nothing is sent on their behalf', async () => {
  recorder.requests.length = 0;
  const shared = await visit(world);
  const page = await shared.openTab();
  await signIn(page);
  await world.clock.advance(604_800);
  shared.expectStatus(401, 404);
  await submitForm(page);
  const login = page.getByRole('main').getByRole('link', { name: 'Sign in' });
  await login.waitFor();
  await shared.context.clearCookies({ name: /^_/ }); // ends Alice's session at the provider
  await login.click();
  await signInAtProvider(page, 'bob');
  await page.getByRole('button', { name: 'Allow' }).click();
  await page.getByRole('heading', { name: 'There is no saved form here' }).waitFor();
  expect(sentToApi()).toHaveLength(0);
});
