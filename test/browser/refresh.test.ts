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

const refreshCount = () => world.grants.filter((each) => each === 'refresh_token').length;

test('ten tabs of one user refresh an expired access token once, and each call to the API succeeds', async () => {
  const alice = await visit(world);
  const tabs: Page[] = [];
  for (let tab = 0; tab < 10; tab += 1) tabs.push(await alice.openTab());
  await signIn(tabs[0]!);
  await world.clock.advance(accessTokenSeconds);
  const before = refreshCount();
  await Promise.all(tabs.map((each) => each.goto('/auth/logout'))); // a page that needs no token
  expect(refreshCount()).toBe(before);
  const calls = tabs.map((each) =>
    each.evaluate<number>("fetch('/api/profile').then((response) => response.status)"),
  );
  expect(await Promise.all(calls)).toEqual(tabs.map(() => 200));
  expect(refreshCount()).toBe(before + 1);
});
