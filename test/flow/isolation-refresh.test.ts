import type { Browser } from '../support/browser.ts';
import { createLatch } from '../support/latch.ts';
import { createWorld, type World } from '../support/world.ts';

const tokenRequests = (world: World) => world.providerFaults.count(/^\/token$/);
const statusOf = async (browser: Browser) => (await browser.fetch('/api/profile')).status;

async function signInOften(world: World, user: string, times: number): Promise<readonly Browser[]> {
  const browsers = Array.from({ length: times }, () => world.browser());
  for (const browser of browsers) await world.signIn(browser, user);
  return browsers;
}

describe.each(['memory', 'redis'] as const)(
  'while the provider rejects refreshes of one user (%s)',
  (store) => {
    let world: World;
    beforeEach(async () => {
      world = await createWorld({ store, accessTokenSeconds: 100 });
    });
    afterEach(() => world.close());

    test.each([
      ['429 with Retry-After: 300', { status: 429, headers: { 'retry-after': '300' } }, '300'],
      ['503 with Retry-After: 300', { status: 503, headers: { 'retry-after': '300' } }, '300'],
      ['500', { status: 500 }, '3'],
      ['no response', 'reset', '3'],
    ] as const)(
      "%s for eight sessions of alice does not delay bob's refresh",
      async (_what, fault, seconds) => {
        const [bob] = await signInOften(world, 'bob', 1);
        const sessionsOfAlice = await signInOften(world, 'alice', 8);
        await world.clock.advance(101);
        world.providerFaults.set({ path: /^\/token$/, response: fault });
        for (const each of sessionsOfAlice) {
          const response = await each.fetch('/api/profile');
          expect([response.status, response.headers['retry-after']]).toEqual([503, seconds]);
        }
        world.providerFaults.set(undefined);
        expect(await statusOf(bob!)).toBe(200);
        const before = tokenRequests(world);
        expect(await statusOf(sessionsOfAlice[0]!)).toBe(503); // still waiting
        expect(tokenRequests(world)).toBe(before);
        await world.clock.advance(Number(seconds));
        expect(await statusOf(sessionsOfAlice[0]!)).toBe(200);
      },
    );
  },
);

test.each([
  ['', 'openid', 3],
  [' for more than two seconds if the user is unknown', '', 10],
] as const)(
  "twelve refreshes of alice without a response do not delay bob's%s",
  async (_what, openid, sent) => {
    const env = { OAUTH2_SCOPES: `${openid} read:profile read:data` };
    const world = await createWorld({ accessTokenSeconds: 100, env });
    const [bob] = await signInOften(world, 'bob', 1);
    const sessionsOfAlice = await signInOften(world, 'alice', 12);
    await world.clock.advance(101);
    const before = tokenRequests(world);
    const { opened: hold, open: release } = createLatch();
    world.providerFaults.set({ path: /^\/token$/, hold });
    const calls = sessionsOfAlice.map(statusOf);
    while (tokenRequests(world) < before + sent) await new Promise((resolve) => setTimeout(resolve, 5));
    world.providerFaults.set(undefined);
    expect(await statusOf(bob!)).toBe(200);
    release();
    expect(await Promise.all(calls)).toEqual(Array(12).fill(200));
    await world.close();
  },
);
