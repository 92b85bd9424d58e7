import { type PageCase, press, sessionIdOf, submitPlainly } from './page-case.ts';
import { signIn } from './sign-in.ts';

const json = { 'content-type': 'application/json' };

export const profileCases: readonly PageCase[] = [
  { name: 'profile', status: 200, user: 'alice', open: (page) => page.goto('/profile') },
  {
    name: 'profile-renewed',
    status: 200,
    user: 'alice',
    async open(page, _world, t) {
      await page.goto('/profile');
      await page.getByText(t('common.technical')).click();
      await press(page, t('panel.renew'));
      await page.getByText(t('panel.renewed')).waitFor();
    },
  },
  {
    name: 'profile-without-the-api',
    status: 200,
    user: 'alice',
    async open(page, world) {
      world.apiFaults.set({ response: 'reset' });
      await page.goto('/profile');
    },
  },
  {
    name: 'profile-renewal-postponed',
    status: 200,
    user: 'alice',
    async open(page, world) {
      await page.goto('/profile');
      world.providerFaults.set({ path: /^\/token$/, response: { status: 503 } });
      await submitPlainly(page, '[data-refresh]');
      await page.getByRole('status').waitFor();
    },
  },
  {
    name: 'profile-without-scopes-and-claims',
    status: 200,
    user: 'none',
    async open(page, world, t) {
      await signIn(page);
      await world.latchkey.deps.tokenStore.update(await sessionIdOf(page, world), async (record) => {
        const { identity: _, ...rest } = record;
        const { expiresAt: __, ...tokens } = record.tokens;
        return { ...rest, user: {}, tokens: { ...tokens, scope: [] } };
      });
      world.apiFaults.set({ response: { status: 200, headers: json, body: '{}' } });
      await page.reload();
      await page.getByRole('heading', { name: t('profile.title') }).waitFor();
    },
  },
];
