import type { Page } from 'playwright-core';
import { type PageCase, press, sessionIdOf, submitPlainly } from './page-case.ts';
import type { PagesWorld } from './pages-world.ts';
import { decide, signIn, signInAtProvider } from './sign-in.ts';

const json = { 'content-type': 'application/json' };

/** Makes the API reject the token of every request with this challenge (RFC 6750 3). */
const rejectTokens = (world: PagesWorld, challenge: string) =>
  world.apiFaults.set({ response: { status: 401, headers: { 'www-authenticate': `Bearer ${challenge}` } } });

/** Submits a form with one field of this size. */
const submitField = (page: Page, action: string, length: number) =>
  page.evaluate(`{
    const form = Object.assign(document.createElement('form'), { method: 'post', action: '${action}' });
    form.append(Object.assign(document.createElement('textarea'), { name: 'a', value: 'a'.repeat(${length}) }));
    document.body.append(form);
    form.submit();
  }`);

/** Starts a login, and lets the provider's token endpoint respond like this when it returns. */
async function failLogin(page: Page, world: PagesWorld, status: number, error?: string): Promise<void> {
  await page.goto('/auth/login');
  const response = { status, ...(error && { headers: json, body: JSON.stringify({ error }) }) };
  world.providerFaults.set({ path: /^\/token$/, response });
  await signInAtProvider(page);
  await decide(page, 'allow');
}

const loginErrors: readonly PageCase[] = [
  {
    name: 'declined',
    status: 200,
    user: 'none',
    async open(page) {
      await page.goto('/auth/login');
      await decide(page, 'cancel');
    },
  },
  {
    name: 'sign-in-expired',
    status: 400,
    user: 'none',
    open: (page) => page.goto('/auth/callback?code=x&state=x'),
  },
  {
    name: 'sign-in-failed',
    status: 400,
    user: 'none',
    open: (page, world) => failLogin(page, world, 400, 'invalid_grant'),
  },
  {
    name: 'provider-unavailable',
    status: 503,
    user: 'none',
    open: (page, world) => failLogin(page, world, 503),
  },
  {
    name: 'app-rejected',
    status: 503,
    user: 'none',
    open: (page, world) => failLogin(page, world, 401, 'invalid_client'),
  },
  {
    name: 'step-up-denied',
    status: 200,
    user: 'none',
    async open(page) {
      await signIn(page);
      await page.goto('/auth/login?prompt=consent');
      await decide(page, 'deny');
    },
  },
];

const sessionErrors: readonly PageCase[] = [
  {
    name: 'session-ended',
    status: 401,
    user: 'alice',
    async open(page, _world, t) {
      await page.goto('/profile');
      await page.context().clearCookies({ name: /^latchkey-\d+$/ });
      await submitPlainly(page, '[data-refresh]');
      await page.getByRole('heading', { name: t('error.login_required.title') }).waitFor();
    },
  },
  {
    name: 'no-refresh-token',
    status: 409,
    user: 'none',
    async open(page, world) {
      await signIn(page);
      await world.latchkey.deps.tokenStore.update(await sessionIdOf(page, world), async (record) => {
        const { refreshToken: _, ...tokens } = record.tokens;
        return { ...record, tokens };
      });
      await submitPlainly(page, '[data-refresh]');
      await page.waitForURL('/auth/refresh**');
    },
  },
  {
    name: 'user-changed',
    status: 409,
    user: 'alice',
    async open(page, _world, t) {
      await page.goto('/profile');
      await page.evaluate(
        `for (const form of document.forms) form.action = form.action.replace(/session=.*/, 'session=x')`,
      );
      await press(page, t('common.sign_out'));
    },
  },
  {
    name: 'token-renewed',
    status: 401,
    user: 'none',
    async open(page, world, t) {
      await signIn(page);
      rejectTokens(world, 'error="invalid_token"');
      await submitField(page, '/api/data', 600_000); // too large to be sent again
      await page.getByRole('heading', { name: t('error.token_renewed.title') }).waitFor();
    },
  },
  {
    name: 'sign-in-again-required',
    status: 401,
    user: 'none',
    async open(page, world) {
      await signIn(page);
      rejectTokens(world, 'error="insufficient_user_authentication", max_age="0"');
      await page.goto('/api/profile');
    },
  },
  {
    name: 'sign-in-again-without-effect',
    status: 401,
    user: 'none',
    async open(page, world, t) {
      await signIn(page);
      rejectTokens(world, 'error="insufficient_user_authentication", max_age="0"');
      await page.goto('/api/profile');
      await page.getByRole('link', { name: t('login.step_up_button', { provider: 'Demo ID' }) }).click();
      await signInAtProvider(page);
      await page.waitForURL(`${world.origin}/**`);
      await page.goto('/api/profile');
    },
  },
  {
    name: 'permission-required',
    status: 403,
    user: 'none',
    async open(page, world) {
      await signIn(page);
      await world.latchkey.deps.tokenStore.update(await sessionIdOf(page, world), async (record) => {
        const { requested: _, ...rest } = record;
        return { ...rest, tokens: { ...record.tokens, scope: ['openid'] } };
      });
      await page.goto('/api/data');
    },
  },
  {
    name: 'permission-declined',
    status: 403,
    user: 'none',
    async open(page) {
      await page.goto('/auth/login');
      await signInAtProvider(page, 'bob');
      await page.locator('input[type=checkbox][value="read:data"]').uncheck();
      await decide(page, 'allow');
      await page.waitForURL('/profile');
      await page.goto('/api/data');
    },
  },
];

const requestErrors: readonly PageCase[] = [
  {
    name: 'cross-site',
    status: 403,
    user: 'alice',
    async open(page, world) {
      await page.goto(`${world.provider.issuer}/session/end`); // a page of another origin
      await page.evaluate(`location.assign('${world.origin}/api/profile')`);
      await page.waitForURL('/api/profile');
    },
  },
  { name: 'not-found', status: 404, user: 'none', open: (page) => page.goto('/nothing/here') },
  { name: 'method-not-allowed', status: 405, user: 'none', open: (page) => page.goto('/auth/refresh') },
  { name: 'invalid-request', status: 400, user: 'none', open: (page) => page.goto('/auth/resume/%ff') },
  {
    name: 'too-large',
    status: 413,
    user: 'none',
    routes: 'many',
    async open(page) {
      await signIn(page);
      await submitField(page, '/api/small', 2_000);
      await page.waitForURL('/api/small');
    },
  },
  {
    name: 'too-many-requests',
    status: 429,
    user: 'none',
    async open(page, world) {
      world.setFaults({ exceededLimit: 'auth' });
      await page.goto('/auth/login');
    },
  },
];

const outages: readonly PageCase[] = [
  {
    name: 'internal-error',
    status: 500,
    user: 'alice',
    async open(page, world) {
      world.setFaults({ store: 'broken' });
      await page.goto('/profile');
    },
  },
  {
    name: 'store-unavailable',
    status: 503,
    user: 'alice',
    async open(page, world) {
      world.setFaults({ store: 'unavailable' });
      await page.goto('/profile');
    },
  },
  {
    name: 'api-unreachable',
    status: 502,
    user: 'alice',
    async open(page, world) {
      world.apiFaults.set({ response: 'reset' });
      await page.goto('/api/profile');
    },
  },
  {
    name: 'api-timeout',
    status: 504,
    user: 'none',
    routes: 'many',
    async open(page, world) {
      await signIn(page);
      world.apiFaults.set({ delayMs: 2_000 });
      await page.goto('/api/slow');
    },
  },
  {
    name: 'app-token-refused',
    status: 502,
    user: 'none',
    routes: 'many',
    async open(page, world) {
      const response = { status: 401, headers: json, body: '{"error":"invalid_client"}' };
      world.providerFaults.set({ path: /^\/token$/, response });
      await page.goto('/api/app');
    },
  },
];

export const errorCases: readonly PageCase[] = [
  ...loginErrors,
  ...sessionErrors,
  ...requestErrors,
  ...outages,
];
