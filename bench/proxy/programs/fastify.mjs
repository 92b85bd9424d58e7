// Fastify with its usual parts. In its favour, sessions are not extended by requests, and nothing is logged, counted, encrypted
// or refreshed. `POST /sign-in` starts a session with the tokens in its body.
import { randomBytes } from 'node:crypto';
import cookie from '@fastify/cookie';
import replyFrom from '@fastify/reply-from';
import session from '@fastify/session';
import { RedisStore } from 'connect-redis';
import fastify from 'fastify';
import { Redis } from 'ioredis';
import { announce } from './listening.mjs';

const sessionMs = 86_400_000;
const redis = new Redis(process.env.REDIS_URL, { enableAutoPipelining: true });

const app = fastify();
await app.register(cookie);
await app.register(session, {
  secret: randomBytes(32).toString('hex'),
  cookieName: 'sid',
  store: new RedisStore({ client: redis, prefix: 'fastify:' }),
  saveUninitialized: false,
  rolling: false,
  cookie: { httpOnly: true, sameSite: 'lax', secure: false, maxAge: sessionMs },
});
await app.register(replyFrom, { base: process.env.API_URL, undici: { connections: null } });

app.post('/sign-in', async (req, reply) => {
  req.session.set('user', req.body.user);
  req.session.set('tokens', req.body.tokens);
  return reply.code(204).send();
});
app.get('/api/profile', (req, reply) => {
  const tokens = req.session.get('tokens');
  if (!tokens) return reply.code(401).send();
  return reply.from('/profile', {
    rewriteRequestHeaders: (_req, { cookie: _cookie, ...headers }) => ({
      ...headers,
      authorization: `Bearer ${tokens.accessToken}`,
    }),
  });
});

await app.ready();
announce(app.server);
