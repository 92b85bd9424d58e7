import type { Page } from 'playwright-core';
import { type PageCase, press, sessionIdOf, submitPlainly } from './page-case.ts';
import type { PageTexts } from './page-texts.ts';
import type { PagesWorld } from './pages-world.ts';
import { signIn } from './sign-in.ts';

const longRow = 'PUT /archives/:year/documents-of-all-departments/:documentId/*file';

/** Opens a row of the console. */
async function openRow(page: Page, row: string): Promise<void> {
  const summary = page.locator('details.call > summary').filter({ hasText: row.replace(' ', ' /api') });
  if (!(await summary.evaluate('(element) => element.parentElement.open'))) await summary.click();
}

const send = (page: Page, row: string, t: PageTexts) => press(page, t('console.send_what', { what: row }));

async function openWithScopes(page: Page, world: PagesWorld, scope: readonly string[]): Promise<void> {
  await signIn(page);
  await world.latchkey.deps.tokenStore.update(await sessionIdOf(page, world), async (record) => {
    const { requested: _, ...rest } = record;
    return { ...rest, tokens: { ...record.tokens, scope } };
  });
  await page.goto('/auth/developer');
}

export const consoleCases: readonly PageCase[] = [
  { name: 'developer', status: 200, user: 'alice', open: (page) => page.goto('/auth/developer') },
  {
    name: 'console-with-a-response',
    status: 200,
    user: 'alice',
    async open(page, _world, t) {
      await page.goto('/auth/developer');
      await openRow(page, 'GET /data');
      await send(page, 'GET /data', t);
      await page.getByText('Paint the roses red').waitFor();
    },
  },
  {
    name: 'console-with-dropped-headers',
    status: 200,
    user: 'none',
    routes: 'many',
    async open(page, _world, t) {
      await signIn(page, 'alice', '/auth/developer');
      await openRow(page, 'POST /data');
      const row = page.locator('details.call[open]');
      await row.getByLabel(t('console.request_headers')).fill('X-Request-Purpose: try\nX-Other: yes');
      await row.getByLabel(t('console.content')).fill('{"title":"Paint the roses red"}');
      await send(page, 'POST /data', t);
      await page.getByText('201 Created').waitFor();
      await page.locator('details.headers > summary').click();
    },
  },
  {
    name: 'console-with-invalid-input',
    status: 200,
    user: 'none',
    routes: 'many',
    async open(page, _world, t) {
      await signIn(page, 'alice', '/auth/developer');
      await openRow(page, longRow);
      const row = page.locator('details.call[open]');
      await row.getByRole('textbox', { name: 'year' }).fill('1865');
      await row.getByRole('textbox', { name: 'documentId' }).fill('..');
      await row.getByRole('textbox', { name: 'file' }).fill('down/the/rabbit/hole.txt');
      await row.getByLabel(t('console.content')).fill('{"title":');
      await send(page, longRow, t);
      await row.getByRole('alert').filter({ hasText: /./ }).waitFor();
    },
  },
  {
    name: 'console-without-permission',
    status: 200,
    otherStatuses: [403],
    user: 'none',
    async open(page, world, t) {
      await openWithScopes(page, world, ['openid', 'read:profile', 'read:data']);
      await openRow(page, 'POST /data');
      await send(page, 'POST /data', t);
      await page
        .locator('#console')
        .getByRole('link', { name: t('console.grant', { scope: 'write:data' }) })
        .waitFor();
    },
  },
  {
    name: 'console-with-too-many-requests',
    status: 200,
    otherStatuses: [429],
    user: 'none',
    routes: 'many',
    async open(page, world, t) {
      world.setFaults({ exceededLimit: 'POST /small' });
      await signIn(page, 'alice', '/auth/developer');
      await openRow(page, 'POST /small');
      await send(page, 'POST /small', t);
      await page.getByRole('heading', { level: 3, name: /^429 / }).waitFor();
    },
  },
  {
    name: 'console-after-the-session-expired',
    status: 200,
    otherStatuses: [401],
    user: 'none',
    async open(page, _world, t) {
      await signIn(page, 'alice', '/auth/developer');
      await page.context().clearCookies({ name: /^latchkey-\d+$/ });
      await openRow(page, 'GET /data');
      await send(page, 'GET /data', t);
      await page.getByText(t('watch.ended')).waitFor();
    },
  },
  {
    name: 'console-without-the-api',
    status: 200,
    otherStatuses: [502],
    user: 'alice',
    async open(page, world, t) {
      await page.goto('/auth/developer');
      world.apiFaults.set({ response: 'reset' });
      await send(page, 'GET /profile', t);
      await page.getByText(t('console.upstream_unreachable')).waitFor();
    },
  },
  {
    name: 'console-request-not-sent',
    status: 400,
    user: 'none',
    routes: 'many',
    async open(page, _world, t) {
      await signIn(page, 'alice', '/auth/developer');
      await openRow(page, longRow);
      const row = page.locator('details.call[open]');
      await row.getByRole('textbox', { name: 'year' }).fill('1865');
      await row.getByLabel(t('console.content')).fill('a=1\nb=<2>');
      await submitPlainly(page, 'details.call[open] form');
      await page.getByRole('heading', { name: t('console.not_sent') }).waitFor();
    },
  },
];
