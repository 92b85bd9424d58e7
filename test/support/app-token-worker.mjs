// A process that runs only an app-token manager, configured by its environment: `node app-token-worker.mjs <dist>`.
// For each message `{ calls, scope }` it makes that many parallel calls and sends back their tokens or error codes.
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
  audit: deps.audit,
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
