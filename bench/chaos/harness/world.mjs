import { Browser } from './browser.mjs';
import { freePorts } from './ports.mjs';
import { startProvider } from './provider.mjs';
import { startRedis } from './redis.mjs';
import { eachOf } from './waiting.mjs';

/**
 * A provider with its API, a Redis (unless `redisUrl` says where one is), and so many processes of the app behind one
 * public origin, where nobody listens: each request is sent to the process a scenario chooses.
 */
export async function openWorld(
  app,
  { label, processes = 4, settings = {}, env = {}, redisUrl, envOf = () => ({}) } = {},
) {
  const closers = [];
  const world = {
    app,
    label,
    incidents: [],
    instances: [],
    browser: (name) => new Browser(world, name),
    /** Signed in, spread over the processes. */
    async signIn(count, prefix = 'person') {
      const browsers = Array.from({ length: count }, (_, index) => world.browser(`${prefix}-${index}`));
      await eachOf([...browsers.entries()], 12, ([index, browser]) =>
        browser.signIn(world.instances[index % world.instances.length]),
      );
      return browsers;
    },
    incidentsOf: (kind) => world.incidents.filter((each) => each.kind === kind),
    async close() {
      for (const close of closers.reverse()) await close();
    },
  };
  try {
    const [publicPort] = await freePorts(1);
    world.publicOrigin = `http://localhost:${publicPort}`;
    world.provider = await startProvider({ publicOrigin: world.publicOrigin, settings });
    closers.push(world.provider.close);
    if (redisUrl === undefined) {
      world.redis = await startRedis();
      closers.push(world.redis.close);
    }
    const names = Array.from({ length: processes }, (_, index) => `p${index + 1}`);
    world.instances = names.map((name, index) =>
      app.instance({
        name,
        world,
        env: { REDIS_URL: redisUrl ?? world.redis.url, ...env, ...envOf(index, world) },
      }),
    );
    closers.push(() => Promise.all(world.instances.map((each) => each.end())));
    await Promise.all(world.instances.map((each) => each.start()));
    return world;
  } catch (error) {
    await world.close();
    throw error;
  }
}
