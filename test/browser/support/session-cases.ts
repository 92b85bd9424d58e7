import { randomUUID } from 'node:crypto';
import type { Page } from 'playwright-core';
import { endedByValues } from '../../../src/tokens/token-store.ts';
import { expireSession, type PageCase, press, sessionIdOf } from './page-case.ts';
import type { PagesWorld } from './pages-world.ts';
import { decide, signIn, signInAtProvider } from './sign-in.ts';

const otherBrowsers = {
  phone:
    'Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Mobile/15E148 Safari/604.1',
  unknown: 'curl/8.5.0',
  windows:
    'Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36 Edg/141.0.0.0',
} as const;

/**
 * Signs Bob in here and in these other browsers, and shows his profile. Alice's session must not be ended. The other
 * sessions have tokens of their own, as the provider revokes those of an ended session.
 */
async function openWithOtherSessions(
  page: Page,
  world: PagesWorld,
  userAgents: readonly string[],
): Promise<void> {
  await signIn(page, 'bob');
  const { tokenStore } = world.latchkey.deps;
  const record = (await tokenStore.get(await sessionIdOf(page, world)))!;
  for (const userAgent of userAgents) {
    const tokens = { ...record.tokens, accessToken: randomUUID(), refreshToken: randomUUID() };
    await tokenStore.put(randomUUID(), { ...record, tokens, userAgent });
  }
  await page.reload();
}

/** Simulates the user coming back to the window. */
async function focusWindow(page: Page): Promise<void> {
  await page.waitForLoadState();
  await page.evaluate("window.dispatchEvent(new Event('focus'))");
  await page.getByRole('alert').filter({ hasText: /./ }).waitFor();
}

export const sessionCases: readonly PageCase[] = [
  {
    name: 'profile-with-sessions',
    status: 200,
    user: 'none',
    async open(page, world, t) {
      await openWithOtherSessions(page, world, Object.values(otherBrowsers));
      await page.getByRole('button', { name: t('sessions.end_others') }).waitFor();
    },
  },
  {
    name: 'profile-with-too-many-sessions',
    status: 200,
    user: 'none',
    async open(page, world, t) {
      await openWithOtherSessions(page, world, new Array(60).fill(otherBrowsers.windows));
      await page.getByText(t('sessions.more')).waitFor();
    },
  },
  {
    name: 'profile-after-ending-a-session',
    status: 200,
    user: 'none',
    async open(page, world) {
      await openWithOtherSessions(page, world, Object.values(otherBrowsers));
      await page.getByRole('button', { name: 'Safari' }).click();
      await page.getByRole('status').filter({ hasText: 'Safari' }).waitFor();
    },
  },
  {
    name: 'profile-after-ending-all-other-sessions',
    status: 200,
    user: 'none',
    async open(page, world, t) {
      await openWithOtherSessions(page, world, Object.values(otherBrowsers));
      await press(page, t('sessions.end_others'));
      await page.getByText(t('flash.other_sessions_ended')).waitFor();
    },
  },
  {
    name: 'profile-without-the-list-of-sessions',
    status: 200,
    user: 'alice',
    async open(page, world, t) {
      world.setFaults({ isSessionListUnavailable: true });
      await page.goto('/profile');
      await page.getByText(t('sessions.unavailable')).waitFor();
    },
  },
  {
    name: 'profile-of-an-expired-session',
    status: 200,
    user: 'none',
    async open(page, world) {
      await signIn(page);
      await expireSession(page, world);
      await focusWindow(page);
    },
  },
  {
    name: 'profile-of-an-ended-session',
    status: 200,
    user: 'none',
    async open(page, world) {
      await signIn(page);
      const id = await sessionIdOf(page, world);
      await world.latchkey.deps.tokenStore.take(id, { kind: 'ended', by: 'user' });
      await focusWindow(page);
    },
  },
  {
    name: 'profile-of-another-user',
    status: 200,
    user: 'none',
    async open(page, world) {
      await signIn(page);
      const other = await page.context().newPage();
      await other.goto(`${world.provider.issuer}/session/end`);
      await other.getByRole('button').first().click();
      await other.goto('/auth/login');
      await signInAtProvider(other, 'bob');
      await decide(other, 'allow');
      await page.getByRole('alert').filter({ hasText: /./ }).waitFor();
    },
  },
  ...endedByValues.map(
    (by): PageCase => ({
      name: `sign-in-after-the-session-was-ended-by-${by}`,
      status: 200,
      user: 'none',
      async open(page, world) {
        await signIn(page);
        const id = await sessionIdOf(page, world);
        await world.latchkey.deps.tokenStore.take(id, { kind: 'ended', by });
        await page.goto('/profile');
        await page.getByRole('status').waitFor();
      },
    }),
  ),
  {
    name: 'session-ended-by-provider',
    status: 401,
    user: 'none',
    async open(page, world) {
      await signIn(page);
      const id = await sessionIdOf(page, world);
      await world.latchkey.deps.tokenStore.take(id, { kind: 'ended', by: 'provider' });
      await page.goto('/api/data');
    },
  },
];
