// The usual parts: Express, express-session with connect-redis, and the same forwarding as in `bare`. In its favour, sessions
// are extended once a minute instead of at each request, and nothing is logged, counted, encrypted or refreshed.
// `POST /sign-in` starts a session with the tokens in its body.
import { randomBytes } from 'node:crypto';
import { createServer } from 'node:http';
import { RedisStore } from 'connect-redis';
import express from 'express';
import session from 'express-session';
import { Redis } from 'ioredis';
import { createForward } from './forward.mjs';
import { announce } from './listening.mjs';

const sessionMs = 86_400_000;
const touchIntervalMs = 60_000;
const redis = new Redis(process.env.REDIS_URL, { enableAutoPipelining: true });
const forward = createForward(process.env.API_URL);

class SeldomTouchedStore extends RedisStore {
  #touchedAt = new Map();

  touch(id, data, done) {
    if (Date.now() - (this.#touchedAt.get(id) ?? 0) < touchIntervalMs) return done();
    this.#touchedAt.set(id, Date.now());
    return super.touch(id, data, done);
  }
}

const app = express().disable('x-powered-by').disable('etag');
app.use(
  session({
    name: 'sid',
    secret: randomBytes(32).toString('hex'),
    store: new SeldomTouchedStore({ client: redis }),
    resave: false,
    saveUninitialized: false,
    cookie: { httpOnly: true, sameSite: 'lax', maxAge: sessionMs },
  }),
);
app.post('/sign-in', express.json(), (req, res) => {
  Object.assign(req.session, req.body);
  res.status(204).end();
});
app.get('/api/profile', (req, res) => {
  const { tokens } = req.session;
  if (!tokens) return res.status(401).end();
  forward(req, res, { authorization: `Bearer ${tokens.accessToken}` });
});

announce(createServer(app));
