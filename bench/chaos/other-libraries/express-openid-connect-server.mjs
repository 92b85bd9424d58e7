// An app with express-openid-connect, assembled from its README and these sections of EXAMPLES.md: routes that require
// a user (2), refresh of an expired token in a route that calls an API (5), logout at the provider (8), a session
// store (10). Everything else has the library's defaults. Runs from the folder where its packages are installed.
import { RedisStore } from 'connect-redis';
import express from 'express';
import openid from 'express-openid-connect';
import { Redis } from 'ioredis';

const { attemptSilentLogin, auth, requiresAuth } = openid;
const { PORT, API_URL, REDIS_URL, REDIS_COMMAND_TIMEOUT_MS: commandTimeoutMs, SCOPE } = process.env;

const redis = new Redis(REDIS_URL, commandTimeoutMs ? { commandTimeout: Number(commandTimeoutMs) } : {});
redis.on('error', ({ message }) => console.error('redis:', message));

const app = express();

app.get('/healthz', (_req, res) => {
  res.send('ok');
});

// ISSUER_BASE_URL, BASE_URL, CLIENT_ID, CLIENT_SECRET and SECRET are read from the environment.
app.use(
  auth({
    authRequired: false,
    errorOnRequiredAuth: true, // 401 instead of a redirect, which fetch cannot follow to the provider
    idpLogout: true,
    idTokenSigningAlg: 'ES256',
    authorizationParams: { response_type: 'code', scope: SCOPE },
    routes: {
      login: '/auth/login',
      callback: '/auth/callback',
      logout: '/auth/logout',
      postLogoutRedirect: '/',
    },
    session: { store: new RedisStore({ client: redis }) },
  }),
);

app.get('/', attemptSilentLogin(), (req, res) => {
  res.send(req.oidc.isAuthenticated() ? `hello ${req.oidc.user.sub}` : 'hello');
});

app.get('/auth/session', (req, res) => {
  res.json({ authenticated: req.oidc.isAuthenticated() });
});

app.get('/api/*path', requiresAuth(), async (req, res) => {
  let { token_type, access_token, isExpired, refresh } = req.oidc.accessToken;
  if (isExpired()) {
    ({ access_token } = await refresh());
  }
  const response = await fetch(API_URL + req.originalUrl.slice('/api'.length), {
    headers: { Authorization: `${token_type} ${access_token}` },
  });
  res
    .status(response.status)
    .type('json')
    .send(await response.text());
});

app.listen(Number(PORT), '127.0.0.1');
