import { Browser } from './browser.mjs';
import { freePorts } from './ports.mjs';
import { startProvider } from './provider.mjs';
import { startRedis } from './redis.mjs';
import { mapConcurrently } from './wait-for.mjs';

/**
 * Starts a provider with its API, a Redis (unless `redisUrl` names one), and `processes` processes of the app. They
 * share a public origin where nothing listens: the scenario chooses the process that gets each request.
 */
export async function startDeployment(
  app,
  { label, processes = 4, settings = {}, env = {}, redisUrl, envFor = () => ({}), cgroup } = {},
) {
  const closers = [];
  const deployment = {
    app,
    label,
    cgroup,
    incidents: [],
    instances: [],
    browser: (name) => new Browser(deployment, name),
    /** Signs in `count` users, distributed over the processes, and returns their browsers. */
    async signIn(count, prefix = 'user') {
      const browsers = Array.from({ length: count }, (_, index) => deployment.browser(`${prefix}-${index}`));
      await mapConcurrently([...browsers.entries()], 12, ([index, browser]) =>
        browser.signIn(deployment.instances[index % deployment.instances.length]),
      );
      return browsers;
    },
    incidentsOf: (kind) => deployment.incidents.filter((each) => each.kind === kind),
    async close() {
      for (const close of closers.reverse()) await close();
    },
  };
  try {
    const [publicPort] = await freePorts(1);
    deployment.publicOrigin = `http://localhost:${publicPort}`;
    deployment.provider = await startProvider({ publicOrigin: deployment.publicOrigin, settings });
    closers.push(deployment.provider.close);
    if (redisUrl === undefined) {
      deployment.redis = await startRedis();
      closers.push(deployment.redis.close);
    }
    const names = Array.from({ length: processes }, (_, index) => `p${index + 1}`);
    deployment.instances = names.map((name, index) =>
      app.createInstance({
        name,
        deployment,
        env: { REDIS_URL: redisUrl ?? deployment.redis.url, ...env, ...envFor(index, deployment) },
      }),
    );
    closers.push(() => Promise.all(deployment.instances.map((each) => each.stop())));
    await Promise.all(deployment.instances.map((each) => each.start()));
    return deployment;
  } catch (error) {
    await deployment.close();
    throw error;
  }
}
