// An app with express-openid-connect, put together from its README and EXAMPLES.md: routes that need somebody (2), the
// refresh of an expired token in a route that calls an API (5), logout at the provider (8), a session store (10).
// Everything not set here is as the library has it. Runs from the folder its packages are installed in.
import { RedisStore } from 'connect-redis';
import express from 'express';
import openid from 'express-openid-connect';
import { Redis } from 'ioredis';

const { attemptSilentLogin, auth, requiresAuth } = openid;
const { PORT, API_URL, REDIS_URL, REDIS_COMMAND_TIMEOUT_MS: patience, SCOPE } = process.env;

const redis = new Redis(REDIS_URL, patience ? { commandTimeout: Number(patience) } : {});
redis.on('error', ({ message }) => console.error('redis:', message));

const app = express();

app.get('/healthz', (_req, res) => {
  res.send('ok');
});

// ISSUER_BASE_URL, BASE_URL, CLIENT_ID, CLIENT_SECRET and SECRET are read from the environment.
app.use(
  auth({
    authRequired: false,
    errorOnRequiredAuth: true, // 401 instead of a redirect, which a script cannot follow
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

app.get('/api/data', requiresAuth(), async (req, res) => {
  let { token_type, access_token, isExpired, refresh } = req.oidc.accessToken;
  if (isExpired()) {
    ({ access_token } = await refresh());
  }
  const answer = await fetch(API_URL + req.originalUrl.slice('/api'.length), {
    headers: { Authorization: `${token_type} ${access_token}` },
  });
  res
    .status(answer.status)
    .type('json')
    .send(await answer.text());
});

app.listen(Number(PORT), '127.0.0.1');
