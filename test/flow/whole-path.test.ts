import { createWorld, type World } from '../support/world.ts';

describe.each(['memory', 'redis'] as const)('the whole path with the %s store', (store) => {
  let world: World;
  beforeAll(async () => {
    world = await createWorld({ store });
  });
  afterAll(() => world.close());

  test('a person signs in, sees their profile, calls the API, renews access and signs out', async () => {
    const browser = world.browser();
    const profile = await world.signIn(browser);
    expect(profile.url).toBe(`${world.origin}/profile`);
    expect(profile.status).toBe(200);
    expect(profile.text).toContain('Alice Liddell');

    const api = await browser.fetch('/api/profile');
    expect(api.status).toBe(200);
    expect(api.json()).toMatchObject({ sub: 'alice' });
  });
});
