// The provider and the API of one world, in a process of their own: node main.mjs '<options as JSON>'.
// Prints its ports as one line of JSON, and ends when its standard input does, so that it outlives nobody.
import { createServer } from 'node:http';
import { providerConfiguration } from './configuration.mjs';
import { createControl } from './control.mjs';
import { createFaults } from './faults.mjs';
import { createLedger } from './ledger.mjs';
import { createResourceServer } from './resource-server.mjs';

console.warn = () => {}; // oidc-provider's notices about the Node version and the body read before it
console.info = () => {};
const { Provider } = await import('oidc-provider');

const options = JSON.parse(process.argv[2]);
const settings = {
  accessTokenSeconds: 60,
  /** Lifetimes of the tokens of accounts whose name begins so. */
  lifetimes: {},
  graceSeconds: 0,
  /** What a revocation ends: the whole `family` or that one `token`. */
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

provider.use(async function announceLifetime(ctx, next) {
  await next();
  if (ctx.path !== '/token' || ctx.body?.expires_in === undefined) return;
  const { accessToken, account } = issued(ctx);
  const prefix = Object.keys(settings.lifetimes).find((each) => account.startsWith(each));
  ctx.body.expires_in = settings.lifetimes[prefix] ?? settings.accessTokenSeconds;
  ledger.tokens.get(accessToken).announcedUntil = Date.now() + ctx.body.expires_in * 1000;
});

function isRevocation() {
  return Provider.ctx?.path === '/token/revocation';
}

function issued({ body, oidc }) {
  return { accessToken: body.access_token, account: oidc.entities.AccessToken.accountId };
}

/** Whoever is named in `login_hint` is signed in without being asked. */
async function signIn(req, res) {
  const { params } = await provider.interactionDetails(req, res);
  await provider.interactionFinished(req, res, { login: { accountId: params.login_hint } });
}

const endpoints = { '/token': 'token', '/token/revocation': 'revocation' };
const serve = provider.callback();

server.on('request', async (req, res) => {
  if (req.url.startsWith('/_chaos')) return control(req, res);
  if (req.url.startsWith('/sign-in/')) return signIn(req, res).catch(() => res.writeHead(400).end());
  // Each process of the app has token and revocation endpoints of its own: /via/<process>/token.
  const [, via, path] = /^\/via\/([\w-]+)(\/.*)$/.exec(req.url) ?? [];
  if (path) req.url = path;
  const endpoint = endpoints[req.url.split('?')[0]];
  if (!endpoint) return serve(req, res);
  const seen = ledger.arrived(endpoint, req, res, via);
  let body = '';
  for await (const chunk of req) body += chunk;
  req.body = Object.fromEntries(new URLSearchParams(body));
  if (endpoint === 'revocation') seen.token = req.body.token;
  if (await faults.befall(endpoint, via, req, res)) serve(req, res);
});

const api = createResourceServer(provider, ledger, settings);
const apiPort = await listen(api, 0);
process.stdin.resume().on('end', () => process.exit());
console.log(JSON.stringify({ port, apiPort }));

function listen(target, wanted) {
  target.keepAliveTimeout = 0; // who asks again must not meet a connection that is just being closed
  return new Promise((resolve, reject) => {
    target.once('error', reject);
    target.listen(wanted, '127.0.0.1', () => resolve(target.address().port));
  });
}
