// A process that is nothing but an app-token manager, as its environment configures it: `node worker.mjs <built app>`.
// Each message `{ calls, scope }` is answered with what so many parallel calls got: a token, or the code of a failure.
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const load = (path) => import(pathToFileURL(join(process.argv[2], path)).href);
const { loadConfig } = await load('config/load.js');
const { createDeps } = await load('deps.js');
const { createOAuthClient } = await load('oauth/oauth-client.js');
const { createAppTokenManager } = await load('tokens/app-token-manager.js');

const config = loadConfig(process.env);
const deps = createDeps(config);
const tokens = createAppTokenManager({
  store: deps.appTokenStore,
  oauth: createOAuthClient(config.app.provider ?? config.provider, config.publicOrigin, deps),
  scopes: config.app.scopes,
  now: deps.now,
  log: deps.log,
});
await deps.connected();

process.on('message', async ({ calls, scope }) => {
  const call = () =>
    tokens.current(scope).then(
      ({ accessToken }) => accessToken,
      ({ code }) => code,
    );
  process.send(await Promise.all(Array.from({ length: calls }, call)));
});
process.on('disconnect', async () => {
  await tokens.drain();
  await deps.close();
});
process.send('ready');
