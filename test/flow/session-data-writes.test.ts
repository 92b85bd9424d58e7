import { createWorld } from '../support/world.ts';

test('a login stores the session data once, and deletes session data only if there was a session', async () => {
  const calls: string[] = [];
  const world = await createWorld({
    wrap: ({ sessionStore }) => {
      const { set, destroy } = sessionStore;
      sessionStore.set = (id, data, done) => {
        calls.push('set');
        set.call(sessionStore, id, data, done);
      };
      sessionStore.destroy = (id, done) => {
        calls.push('destroy');
        destroy.call(sessionStore, id, done);
      };
      return { sessionStore };
    },
  });
  const browser = world.browser();
  await world.signIn(browser);
  expect(calls).toEqual(['set']);
  await world.signIn(browser, 'alice', '/auth/login?scope=write:data');
  expect(calls).toEqual(['set', 'destroy', 'set']);
  expect((await browser.fetch('/auth/session')).json()).toMatchObject({ authenticated: true });
  await world.close();
});
