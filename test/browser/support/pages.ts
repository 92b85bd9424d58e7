import type { Page } from 'playwright-core';
import { failAtStep } from '../../support/fail-at-step.ts';
import { createWorld, type World } from '../../support/world.ts';
import { signInAtProvider } from './sign-in.ts';

/** A world of which parts can be taken away. */
export interface PagesWorld extends World {
  /** Whether the store can be asked who is signed in. */
  setStoreAway(isAway: boolean): void;
  /** Whether whoever comes to /auth/* has been there too often. */
  setTooOften(isTooOften: boolean): void;
}

export async function createPagesWorld(): Promise<PagesWorld> {
  const step: { name: string | undefined } = { name: undefined };
  let isTooOften = false;
  const world = await createWorld({
    env: {
      OAUTH2_SCOPES: 'openid profile email read:profile read:data write:data',
      OAUTH2_PROVIDER_NAME: 'Garden House',
      AUTH_RATE_LIMIT: '600',
    },
    wrap: ({ tokenStore }) => ({
      tokenStore: failAtStep(tokenStore, step),
      rateLimitStore: () => ({
        increment: () => ({
          totalHits: isTooOften ? 601 : 1,
          resetTime: new Date(Date.now() + 42_000),
        }),
        decrement() {},
        resetKey() {},
      }),
    }),
  });
  return {
    ...world,
    setStoreAway(isAway) {
      step.name = isAway ? 'get' : undefined;
    },
    setTooOften(value) {
      isTooOften = value;
    },
  };
}

/** A page a person can meet: one row here is a page that is checked, and its screenshots. */
export interface Sight {
  readonly name: string;
  /** The status of its answer. */
  readonly status: number;
  readonly as: 'nobody' | 'alice';
  /** What its reader's browser asks for, if not English. */
  readonly lang?: 'de';
  /** From an empty tab to the page. */
  readonly reach: (page: Page, world: PagesWorld) => Promise<unknown>;
}

const press = (page: Page, name: string) => page.getByRole('button', { name }).click();

export const sights: readonly Sight[] = [
  { name: 'home', status: 200, as: 'nobody', reach: (page) => page.goto('/') },
  { name: 'home-signed-in', status: 200, as: 'alice', reach: (page) => page.goto('/') },
  { name: 'sign-in', status: 200, as: 'nobody', reach: (page) => page.goto('/login') },
  {
    name: 'declined',
    status: 403,
    as: 'nobody',
    async reach(page) {
      await page.goto('/auth/login');
      await press(page, 'Cancel');
    },
  },
  { name: 'profile', status: 200, as: 'alice', reach: (page) => page.goto('/profile') },
  {
    name: 'profile-renewed',
    status: 200,
    as: 'alice',
    async reach(page) {
      await page.goto('/profile');
      await press(page, 'Renew access');
      await page.getByRole('status').waitFor();
    },
  },
  {
    name: 'profile-with-an-answer',
    status: 200,
    as: 'alice',
    async reach(page) {
      await page.goto('/profile');
      await page.getByText('GET /api/data').click();
      await press(page, 'Send GET /data');
      await page.getByText('Paint the roses red').waitFor();
    },
  },
  {
    name: 'profile-without-the-api',
    status: 200,
    as: 'alice',
    async reach(page, world) {
      world.apiFaults.set({ response: 'reset' });
      await page.goto('/profile');
    },
  },
  {
    name: 'profile-renewal-put-off',
    status: 200,
    as: 'alice',
    async reach(page, world) {
      await page.goto('/profile');
      world.providerFaults.set({ path: /^\/token$/, response: { status: 503 } });
      await page.evaluate("document.querySelector('[data-refresh]').submit()"); // as without script
      await page.getByRole('status').waitFor();
    },
  },
  { name: 'sign-out', status: 200, as: 'alice', reach: (page) => page.goto('/auth/logout') },
  { name: 'signed-out', status: 200, as: 'nobody', reach: (page) => page.goto('/signed-out') },
  { name: 'home-german', status: 200, as: 'nobody', lang: 'de', reach: (page) => page.goto('/') },
  { name: 'profile-german', status: 200, as: 'alice', lang: 'de', reach: (page) => page.goto('/profile') },
  {
    name: 'not-found-german',
    status: 404,
    as: 'nobody',
    lang: 'de',
    reach: (page) => page.goto('/nothing/here'),
  },
  {
    name: 'sign-in-expired',
    status: 400,
    as: 'nobody',
    reach: (page) => page.goto('/auth/callback?code=x&state=x'),
  },
  {
    name: 'session-over',
    status: 401,
    as: 'alice',
    async reach(page) {
      await page.goto('/profile');
      await page.context().clearCookies({ name: 'latchkey' });
      await page.evaluate("document.querySelector('[data-refresh]').submit()"); // as without script
      await page.getByRole('heading', { name: 'Please sign in' }).waitFor();
    },
  },
  {
    name: 'permission-missing',
    status: 403,
    as: 'nobody',
    async reach(page) {
      await page.goto('/auth/login');
      await signInAtProvider(page, 'bob');
      await page.getByRole('listitem').filter({ hasText: 'read:data' }).getByRole('checkbox').check();
      await press(page, 'Allow');
      await page.waitForURL('/profile');
      await page.goto('/api/data');
    },
  },
  {
    name: 'refused',
    status: 403,
    as: 'alice',
    async reach(page, world) {
      await page.goto(`${world.provider.issuer}/session/end`); // another origin
      await page.evaluate(`location.assign('${world.origin}/api/profile')`);
      await page.waitForURL('/api/profile');
    },
  },
  { name: 'not-found', status: 404, as: 'nobody', reach: (page) => page.goto('/nothing/here') },
  { name: 'method-not-allowed', status: 405, as: 'nobody', reach: (page) => page.goto('/auth/refresh') },
  {
    name: 'not-understood',
    status: 400,
    as: 'nobody',
    reach: (page) => page.goto('/resume/%ff'),
  },
  {
    name: 'too-large',
    status: 413,
    as: 'alice',
    async reach(page) {
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
    name: 'somebody-else',
    status: 409,
    as: 'alice',
    async reach(page) {
      await page.goto('/profile');
      await page.evaluate(
        `for (const form of document.forms) form.action = form.action.replace(/session=.*/, 'session=x')`,
      );
      await press(page, 'Sign out');
    },
  },
  {
    name: 'too-often',
    status: 429,
    as: 'nobody',
    async reach(page, world) {
      world.setTooOften(true);
      await page.goto('/auth/login');
    },
  },
  {
    name: 'api-away',
    status: 502,
    as: 'alice',
    async reach(page, world) {
      world.apiFaults.set({ response: 'reset' });
      await page.goto('/api/profile');
    },
  },
  {
    name: 'provider-away',
    status: 503,
    as: 'nobody',
    async reach(page, world) {
      await page.goto('/auth/login');
      world.providerFaults.set({ path: /^\/token$/, response: { status: 503 } });
      await signInAtProvider(page);
      await press(page, 'Allow');
    },
  },
  {
    name: 'store-away',
    status: 503,
    as: 'alice',
    async reach(page, world) {
      world.setStoreAway(true);
      await page.goto('/profile');
    },
  },
  { name: 'provider-sign-in', status: 200, as: 'nobody', reach: (page) => page.goto('/auth/login') },
  {
    name: 'provider-consent',
    status: 200,
    as: 'nobody',
    async reach(page) {
      await page.goto('/auth/login');
      await signInAtProvider(page, 'bob');
      await page.getByRole('button', { name: 'Allow' }).waitFor();
    },
  },
  {
    name: 'provider-sign-out',
    status: 200,
    as: 'nobody',
    reach: (page, world) => page.goto(`${world.provider.issuer}/session/end`),
  },
];
