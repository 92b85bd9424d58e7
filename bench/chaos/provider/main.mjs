// The provider and the API of one deployment, in their own process: node main.mjs '<options as JSON>'.
// Prints its ports as one line of JSON, and exits when its standard input ends, that is when its parent process does.
import { createServer } from 'node:http';
import { providerConfiguration } from './configuration.mjs';
import { createControl } from './control.mjs';
import { createFaults } from './faults.mjs';
import { createLedger } from './ledger.mjs';
import { createResourceServer } from './resource-server.mjs';

console.warn = () => {}; // oidc-provider warns about the Node version and about request bodies parsed before it
console.info = () => {};
const { Provider } = await import('oidc-provider');

const options = JSON.parse(process.argv[2]);
const settings = {
  accessTokenSeconds: 60,
  /** The length of access tokens: six bits are one character. */
  accessTokenBits: 256,
  /** Access token lifetime in seconds by prefix of the account name. */
  lifetimes: {},
  graceSeconds: 0,
  /** What a revocation ends: the whole `family` of the token, or only that `token`. */
  revokes: 'family',
  apiSlackMs: 3000,
  ...options.settings,
  redirectUris: [`${options.publicOrigin}/auth/callback`, ...(options.redirectUris ?? [])],
};

const server = createServer();
const port = await listen(server, options.port ?? 0);
const provider = new Provider(
  `http://127.0.0.1:${port}`,
  providerConfiguration(options, settings, isRevocation),
);
provider.silent = true;
const ledger = createLedger(provider);
const faults = createFaults();
const control = createControl(ledger, faults, settings);

provider.use(async function setExpiresIn(ctx, next) {
  await next();
  if (ctx.path !== '/token' || ctx.body?.expires_in === undefined) return;
  const accessToken = ctx.body.access_token;
  const account = ctx.oidc.entities.AccessToken.accountId;
  const prefix = Object.keys(settings.lifetimes).find((each) => account.startsWith(each));
  ctx.body.expires_in = settings.lifetimes[prefix] ?? settings.accessTokenSeconds;
  ledger.tokens.get(accessToken).clientExpiresAt = Date.now() + ctx.body.expires_in * 1000;
});

function isRevocation() {
  return Provider.ctx?.path === '/token/revocation';
}

/** Signs in the account named in `login_hint` without a form. */
async function signIn(req, res) {
  const { params } = await provider.interactionDetails(req, res);
  await provider.interactionFinished(req, res, { login: { accountId: params.login_hint } });
}

const endpoints = { '/token': 'token', '/token/revocation': 'revocation' };
const handle = provider.callback();

server.on('request', async (req, res) => {
  if (req.url.startsWith('/_chaos')) return control(req, res);
  if (req.url.startsWith('/sign-in/')) return signIn(req, res).catch(() => res.writeHead(400).end());
  // Each process of the app has its own token and revocation endpoints: /via/<process>/token.
  const [, via, path] = /^\/via\/([\w-]+)(\/.*)$/.exec(req.url) ?? [];
  if (path) req.url = path;
  const endpoint = endpoints[req.url.split('?')[0]];
  if (!endpoint) return handle(req, res);
  const entry = ledger.recordRequest(endpoint, req, res, via);
  let body = '';
  for await (const chunk of req) body += chunk;
  req.body = Object.fromEntries(new URLSearchParams(body));
  if (endpoint === 'revocation') entry.token = req.body.token;
  if (await faults.apply(endpoint, via, req, res)) handle(req, res);
});

const api = createResourceServer(provider, ledger, settings);
const apiPort = await listen(api, 0);
process.stdin.resume().on('end', () => process.exit());
console.log(JSON.stringify({ port, apiPort }));

function listen(target, wantedPort) {
  target.keepAliveTimeout = 0; // otherwise a client may reuse a connection just as the server closes it
  return new Promise((resolve, reject) => {
    target.once('error', reject);
    target.listen(wantedPort, '127.0.0.1', () => resolve(target.address().port));
  });
}
