import { randomBytes } from 'node:crypto';
import type { Browser } from '../support/browser.ts';
import type { Latchkey } from '../support/latchkey.ts';
import { createWorld, type World } from '../support/world.ts';

const [old, fresh] = [randomBytes(32).toString('hex'), randomBytes(32).toString('hex')];

/** The values of SESSION_SECRET in the order in which docs/deployment.md deploys them. */
const steps = { old, 'old,new': `${old},${fresh}`, 'new,old': `${fresh},${old}`, new: fresh } as const;
type Step = keyof typeof steps;

/** What two instances have at the same time: during each deployment, and after it. */
const stages: readonly (readonly [one: Step, other: Step])[] = [
  ['old', 'old'],
  ['old', 'old,new'],
  ['old,new', 'old,new'],
  ['old,new', 'new,old'],
  ['new,old', 'new,old'],
  ['new,old', 'new'],
  ['new', 'new'],
];

describe('while SESSION_SECRET is rotated on two instances with one Redis', () => {
  let world: World;
  const instances = new Map<string, Latchkey>();
  beforeAll(async () => {
    world = await createWorld({ env: { SESSION_SECRET: old } });
    for (const slot of ['one', 'other'])
      for (const [step, secret] of Object.entries(steps))
        instances.set(`${slot} ${step}`, await world.startAnotherInstance(0, { SESSION_SECRET: secret }));
  }, 60_000);
  afterAll(() => world.close());

  /** Signs in with the login at one instance and the callback at another. */
  async function signIn(login: Latchkey, callback: Latchkey): Promise<Browser> {
    const browser = world.browser();
    const isCallback = (url: string) => url.startsWith(`${world.origin}/auth/callback`);
    const submit = (
      page: Awaited<ReturnType<Browser['go']>>,
      fields: Record<string, string>,
      action: string,
    ) => browser.submit(page, fields, { action, until: isCallback });
    let page = await browser.go(`${login.origin}/auth/login`);
    page = await submit(page, { login: 'alice', password: 'any' }, '/login');
    if (!isCallback(page.url)) page = await submit(page, { decision: 'allow' }, '/consent');
    const { pathname, search } = new URL(page.url);
    await browser.step(callback.origin + pathname + search, { from: world.provider.issuer });
    return browser;
  }

  async function expectSignedIn(browser: Browser, at: readonly Latchkey[]): Promise<void> {
    for (const { origin } of at) {
      expect((await browser.fetch(`${origin}/api/profile`)).status).toBe(200);
      const headers = { accept: 'application/json' };
      expect((await browser.fetch(`${origin}/auth/refresh`, { method: 'POST', headers })).status).toBe(200);
    }
  }

  /** Browsers that signed in at an earlier stage and whose session has not reached its absolute limit. */
  let signedIn: Browser[] = [];

  test.each(stages)(
    'with "%s" on one and "%s" on the other, both serve all sessions and complete the logins of the other',
    async (...stage) => {
      const [one, other] = [instances.get(`one ${stage[0]}`)!, instances.get(`other ${stage[1]}`)!];
      // Step 3 begins after SESSION_ABSOLUTE_SECONDS: only sessions that began after step 2 still exist.
      if (stage[1] === 'new' && stage[0] === 'new,old') signedIn = signedIn.slice(-4);
      for (const browser of signedIn) await expectSignedIn(browser, [one, other]);
      for (const [login, callback] of [
        [one, one],
        [one, other],
        [other, one],
        [other, other],
      ] as const) {
        const browser = await signIn(login, callback);
        await expectSignedIn(browser, [one, other]);
        signedIn.push(browser);
      }
    },
    60_000,
  );

  test('with "old" on one and "new" on the other, a session of one is unknown to the other (control)', async () => {
    const [one, other] = [instances.get('one old')!, instances.get('other new')!];
    const browser = await signIn(one, one);
    expect((await browser.fetch(`${other.origin}/api/profile`)).status).not.toBe(200);
  });
});
