import type { Page } from 'playwright-core';
import { expireSession, type PageCase, press, submitPlainly } from './page-case.ts';
import type { PageTexts } from './page-texts.ts';
import { signIn } from './sign-in.ts';

const entries = {
  title: 'Paint the roses <b>red</b>',
  note: `First line\nSecond line\n${'A long word: '}${'x'.repeat(300)}`,
  password: 'off with her head',
  'a-field-with-a-name-that-is-longer-than-any-screen-of-a-phone-is-wide': 'yes',
  empty: '',
};

/** Submits a filled-in form from a page of Latchkey's origin. */
const submitForm = (page: Page, action: string) =>
  page.evaluate(`{
    const form = Object.assign(document.createElement('form'), { method: 'post', action: '${action}' });
    for (const [name, value] of Object.entries(${JSON.stringify(entries)}))
      form.append(Object.assign(document.createElement('textarea'), { name, value }));
    document.body.append(form);
    form.submit();
  }`);

/** Signs in from the error page of an expired session; the provider redirects at once, to the saved form. */
async function signInToForm(page: Page, t: PageTexts): Promise<void> {
  await page.getByText(t('error.form_saved')).waitFor();
  await page
    .getByRole('main')
    .getByRole('link', { name: t('common.sign_in') })
    .click();
  await page.getByRole('heading', { name: t('resume.heading') }).waitFor();
}

export const savedFormCases: readonly PageCase[] = [
  {
    name: 'session-expired-form-saved',
    status: 401,
    user: 'none',
    async open(page, world, t) {
      await signIn(page);
      await expireSession(page, world);
      await submitForm(page, '/api/data?from=here');
      await page.getByText(t('error.form_saved')).waitFor();
    },
  },
  {
    name: 'session-expired-form-not-saved',
    status: 401,
    user: 'none',
    routes: 'many',
    async open(page, world, t) {
      await signIn(page);
      await expireSession(page, world);
      await submitForm(page, '/api/unsaved');
      await page.getByText(t('error.form_not_saved')).waitFor();
    },
  },
  {
    name: 'saved-form',
    status: 200,
    otherStatuses: [401],
    user: 'none',
    async open(page, world, t) {
      await signIn(page);
      await expireSession(page, world);
      await submitForm(page, '/api/data?list=of-all-the-things-that-have-to-be-done&token=secret');
      await signInToForm(page, t);
    },
  },
  {
    name: 'saved-form-with-json',
    status: 200,
    otherStatuses: [401],
    user: 'none',
    async open(page, world, t) {
      await signIn(page, 'alice', '/auth/developer');
      await page.getByText('POST /api/data').click();
      const body = JSON.stringify({
        title: 'Paint the roses red',
        tags: ['x'.repeat(100)],
        password: 'secret',
      });
      await page.locator('details.call[open]').getByLabel(t('console.content')).fill(body);
      await expireSession(page, world);
      await submitPlainly(page, 'details.call[open] form');
      await signInToForm(page, t);
    },
  },
  {
    name: 'saved-form-rejected',
    status: 429,
    otherStatuses: [401],
    user: 'none',
    routes: 'many',
    async open(page, world, t) {
      await signIn(page);
      await expireSession(page, world);
      await submitForm(page, '/api/small');
      await signInToForm(page, t);
      world.setFaults({ exceededLimit: 'POST /small' });
      await press(page, t('resume.send'));
      await page.getByRole('link', { name: t('error.to_form') }).waitFor();
    },
  },
  {
    name: 'saved-form-not-found',
    status: 404,
    user: 'alice',
    open: (page) => page.goto('/auth/resume/unknown'),
  },
];
