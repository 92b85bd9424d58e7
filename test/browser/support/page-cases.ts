import type { Page } from 'playwright-core';
import { cookieNames } from '../../support/browser.ts';
import type { PagesWorld } from './pages-world.ts';
import { signIn, signInAtProvider } from './sign-in.ts';

/** A page that a user can see: each row here is checked by every-page.test.ts and shown in the screenshots. */
export interface PageCase {
  readonly name: string;
  /** The status of the page's response. */
  readonly status: number;
  readonly user: 'none' | 'alice';
  /** The browser's language, if not English. */
  readonly lang?: 'de';
  /** Leads an empty tab to the page. */
  readonly open: (page: Page, world: PagesWorld) => Promise<unknown>;
}

const press = (page: Page, name: string) => page.getByRole('button', { name, exact: true }).click();

const otherBrowsers = {
  'a-session-on-a-phone':
    'Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Mobile/15E148 Safari/604.1',
  'a-session-elsewhere': 'curl/8.5.0',
} as const;

/** The id of the session of this tab. */
export async function sessionIdOf(page: Page, { origin }: Pick<PagesWorld, 'origin'>): Promise<string> {
  const cookies = await page.context().cookies(origin);
  const { value } = cookies.find(({ name }) => name === cookieNames(origin).session)!;
  return /^s(?::|%3A)([\w-]+)\./.exec(value)![1]!;
}

export const pageCases: readonly PageCase[] = [
  { name: 'home', status: 200, user: 'none', open: (page) => page.goto('/') },
  { name: 'home-signed-in', status: 200, user: 'alice', open: (page) => page.goto('/') },
  { name: 'sign-in', status: 200, user: 'none', open: (page) => page.goto('/login') },
  {
    name: 'declined',
    status: 403,
    user: 'none',
    async open(page) {
      await page.goto('/auth/login');
      await press(page, 'Cancel');
    },
  },
  { name: 'profile', status: 200, user: 'alice', open: (page) => page.goto('/profile') },
  {
    name: 'profile-renewed',
    status: 200,
    user: 'alice',
    async open(page) {
      await page.goto('/profile');
      await press(page, 'Renew access');
      await page.getByRole('status').waitFor();
    },
  },
  {
    name: 'profile-with-a-response',
    status: 200,
    user: 'alice',
    async open(page) {
      await page.goto('/profile');
      await page.getByText('GET /api/data').click();
      await press(page, 'Send GET /data');
      await page.getByText('Paint the roses red').waitFor();
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
      await page.evaluate("document.querySelector('[data-refresh]').submit()"); // as without JavaScript
      await page.getByRole('status').waitFor();
    },
  },
  {
    name: 'profile-with-sessions',
    status: 200,
    user: 'none',
    async open(page, world) {
      await signIn(page);
      const { tokenStore } = world.latchkey.deps;
      const record = (await tokenStore.get(await sessionIdOf(page, world)))!;
      for (const [id, userAgent] of Object.entries(otherBrowsers))
        await tokenStore.put(id, { ...record, userAgent });
      await page.reload();
      await page.getByRole('button', { name: 'Sign out everywhere else' }).waitFor();
    },
  },
  ...(['en', 'de'] as const).map(
    (lang): PageCase => ({
      name: `sign-in-after-an-administrator-ended-it${lang === 'de' ? '-german' : ''}`,
      status: 200,
      user: 'none',
      ...(lang === 'de' && { lang }),
      async open(page, world) {
        await signIn(page);
        const id = await sessionIdOf(page, world);
        await world.latchkey.deps.tokenStore.take(id, { kind: 'ended', by: 'administrator' });
        await page.goto('/profile');
        await page.getByRole('status').waitFor();
      },
    }),
  ),
  { name: 'sign-out', status: 200, user: 'alice', open: (page) => page.goto('/auth/logout') },
  {
    name: 'signing-out',
    status: 200,
    user: 'none', // signs in itself, because it ends the session
    async open(page, world) {
      await signIn(page);
      await page.route(`${world.provider.issuer}/session/end**`, (route) => route.abort('aborted'));
      await press(page, 'Sign out');
      await page.getByRole('heading', { name: 'Signing you out' }).waitFor();
    },
  },
  { name: 'signed-out', status: 200, user: 'none', open: (page) => page.goto('/signed-out') },
  { name: 'home-german', status: 200, user: 'none', lang: 'de', open: (page) => page.goto('/') },
  { name: 'profile-german', status: 200, user: 'alice', lang: 'de', open: (page) => page.goto('/profile') },
  {
    name: 'not-found-german',
    status: 404,
    user: 'none',
    lang: 'de',
    open: (page) => page.goto('/nothing/here'),
  },
  {
    name: 'sign-in-expired',
    status: 400,
    user: 'none',
    open: (page) => page.goto('/auth/callback?code=x&state=x'),
  },
  {
    name: 'session-ended',
    status: 401,
    user: 'alice',
    async open(page) {
      await page.goto('/profile');
      await page.context().clearCookies({ name: /^latchkey-\d+$/ });
      await page.evaluate("document.querySelector('[data-refresh]').submit()"); // as without JavaScript
      await page.getByRole('heading', { name: 'Please sign in' }).waitFor();
    },
  },
  {
    name: 'permission-required',
    status: 403,
    user: 'none',
    async open(page) {
      await page.goto('/auth/login');
      await signInAtProvider(page, 'bob');
      await page.getByRole('listitem').filter({ hasText: 'read:data' }).getByRole('checkbox').check();
      await press(page, 'Allow');
      await page.waitForURL('/profile');
      await page.goto('/api/data');
    },
  },
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
  {
    name: 'invalid-request',
    status: 400,
    user: 'none',
    open: (page) => page.goto('/resume/%ff'),
  },
  {
    name: 'too-large',
    status: 413,
    user: 'alice',
    async open(page) {
      await page.goto('/');
      await page.evaluate(`{
        const form = Object.assign(document.createElement('form'), { method: 'post', action: '/api/data' });
        form.append(Object.assign(document.createElement('textarea'), { name: 'a', value: 'a'.repeat(11e6) }));
        document.body.append(form);
        form.submit();
      }`);
      await page.waitForURL('/api/data');
    },
  },
  {
    name: 'user-changed',
    status: 409,
    user: 'alice',
    async open(page) {
      await page.goto('/profile');
      await page.evaluate(
        `for (const form of document.forms) form.action = form.action.replace(/session=.*/, 'session=x')`,
      );
      await press(page, 'Sign out');
    },
  },
  {
    name: 'too-many-requests',
    status: 429,
    user: 'none',
    async open(page, world) {
      world.setRateLimited(true);
      await page.goto('/auth/login');
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
    name: 'provider-unavailable',
    status: 503,
    user: 'none',
    async open(page, world) {
      await page.goto('/auth/login');
      world.providerFaults.set({ path: /^\/token$/, response: { status: 503 } });
      await signInAtProvider(page);
      await press(page, 'Allow');
    },
  },
  {
    name: 'step-up-denied',
    status: 403,
    user: 'none',
    async open(page) {
      await signIn(page);
      await page.goto('/auth/login?prompt=consent');
      await press(page, 'Deny');
    },
  },
  {
    name: 'app-rejected',
    status: 503,
    user: 'none',
    async open(page, world) {
      await page.goto('/auth/login');
      const headers = { 'content-type': 'application/json' };
      const response = { status: 401, headers, body: '{"error":"invalid_client"}' };
      world.providerFaults.set({ path: /^\/token$/, response });
      await signInAtProvider(page);
      await press(page, 'Allow');
    },
  },
  {
    name: 'store-unavailable',
    status: 503,
    user: 'alice',
    async open(page, world) {
      world.setStoreUnavailable(true);
      await page.goto('/profile');
    },
  },
  { name: 'provider-sign-in', status: 200, user: 'none', open: (page) => page.goto('/auth/login') },
  {
    name: 'provider-consent',
    status: 200,
    user: 'none',
    async open(page) {
      await page.goto('/auth/login');
      await signInAtProvider(page, 'bob');
      await page.getByRole('button', { name: 'Allow' }).waitFor();
    },
  },
  {
    name: 'provider-sign-out',
    status: 200,
    user: 'none',
    open: (page, world) => page.goto(`${world.provider.issuer}/session/end`),
  },
];
