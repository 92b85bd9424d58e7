// The least that the job costs: `bare`, and for each request the HMAC of the cookie, one GET from Redis, JSON.parse, and the
// bearer token. `POST /sign-in` starts a session with the tokens in its body.
import { createHmac, createSecretKey, randomBytes, timingSafeEqual } from 'node:crypto';
import { createServer } from 'node:http';
import { Redis } from 'ioredis';
import { createForward } from './forward.mjs';
import { announce, readJson } from './listening.mjs';

const sessionSeconds = 86_400;
const key = createSecretKey(randomBytes(32));
const redis = new Redis(process.env.REDIS_URL, { enableAutoPipelining: true });
const forward = createForward(process.env.API_URL);

const sign = (id) => createHmac('sha256', key).update(id).digest();

function readSessionId({ cookie = '' }) {
  const [, id, signature] = /(?:^|; )sid=([\w-]+)\.([\w-]+)/.exec(cookie) ?? [];
  if (id === undefined) return undefined;
  const [received, expected] = [Buffer.from(signature, 'base64url'), sign(id)];
  return received.length === expected.length && timingSafeEqual(received, expected) ? id : undefined;
}

async function signIn(req, res) {
  const id = randomBytes(32).toString('base64url');
  await redis.set(`floor:${id}`, JSON.stringify(await readJson(req)), 'EX', sessionSeconds);
  const cookie = `sid=${id}.${sign(id).toString('base64url')}; Path=/; HttpOnly; SameSite=Lax`;
  res.writeHead(204, { 'set-cookie': cookie }).end();
}

async function callApi(req, res) {
  const id = readSessionId(req.headers);
  const session = id === undefined ? null : await redis.get(`floor:${id}`);
  if (!session) return res.writeHead(401).end();
  forward(req, res, { authorization: `Bearer ${JSON.parse(session).tokens.accessToken}` });
}

announce(
  createServer((req, res) => {
    const handle = req.method === 'POST' ? signIn : callApi;
    handle(req, res).catch(() => res.writeHead(503).end());
  }),
);
