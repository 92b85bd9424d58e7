// A process that runs only a token manager, configured by its environment: `node session-worker.mjs <dist>`. It works on
// all messages at the same time, and sends back the number of each when it is done: `{ number, put: { id, sub, sid } }`,
// `{ number, end: id }`, `{ number, endUser: sub, exceptId }`.
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const load = (path) => import(pathToFileURL(join(process.argv[2], path)).href);
const { loadConfig } = await load('config/load.js');
const { createDeps } = await load('deps.js');
const { createTokenManager } = await load('tokens/token-manager.js');

const deps = createDeps(loadConfig(process.env));
const tokens = createTokenManager({
  store: deps.tokenStore,
  index: deps.sessionIndex,
  maxSessionsPerUser: 0,
  oauth: {},
  outbox: { add: async () => {}, processNew: async () => {} },
  now: deps.now,
  log: deps.log,
  audit: deps.audit,
});

async function work({ put, end, endUser, exceptId }) {
  if (put) {
    const { id, sub, sid } = put;
    const tokenSet = {
      accessToken: 'a',
      tokenType: 'bearer',
      scope: [],
      issuedAt: Date.now(),
      refreshToken: 'r',
    };
    const identity = { issuer: 'https://issuer.test', subject: sub, sid };
    await tokens.establish(
      id,
      { tokens: tokenSet, user: { sub }, identity },
      { scope: [] },
      { userAgent: 'a browser' },
    );
  } else if (end) await tokens.endBy(end, 'administrator');
  else await tokens.endAllOf({ sub: endUser }, 'user', exceptId);
}

process.on('message', (message) => {
  work(message).then(
    () => process.send({ number: message.number }),
    ({ message: error, cause }) =>
      process.send({ number: message.number, error: `${error}: ${cause?.message}` }),
  );
});
process.on('disconnect', () => deps.close());
while (
  !(await deps.tokenStore.get('no session').then(
    () => true,
    () => false,
  ))
)
  await new Promise((done) => setTimeout(done, 20));
process.send('ready');
