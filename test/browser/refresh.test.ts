import type { Page } from 'playwright-core';
import { visit } from '../support/chromium.ts';
import { createWorld, type World } from '../support/world.ts';
import { signIn } from './support/sign-in.ts';

const accessTokenSeconds = 5;

let world: World;
beforeAll(async () => {
  world = await createWorld({
    accessTokenSeconds,
    env: { OAUTH2_SCOPES: 'openid profile read:profile read:data' },
  });
});
afterAll(() => world.close());

const refreshes = () => world.grants.filter((each) => each === 'refresh_token').length;

test('ten tabs of one person renew an access token that has ended once, and all show the profile', async () => {
  const alice = await visit(world);
  const tabs: Page[] = [];
  for (let tab = 0; tab < 10; tab += 1) tabs.push(await alice.openTab());
  await signIn(tabs[0]!);
  world.clock.advance(accessTokenSeconds);
  const before = refreshes();
  await Promise.all(tabs.map((each) => each.goto('/auth/logout'))); // a page that needs no token
  expect(refreshes()).toBe(before);
  const calls = tabs.map((each) =>
    each.evaluate<number>("fetch('/api/profile').then((answer) => answer.status)"),
  );
  expect(await Promise.all(calls)).toEqual(tabs.map(() => 200));
  expect(refreshes()).toBe(before + 1);
});
