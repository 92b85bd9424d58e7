import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { expressOpenidConnect } from '../chaos/apps/express-openid-connect.mjs';
import { latchkey } from '../chaos/apps/latchkey.mjs';
import { startDeployment } from '../chaos/harness/deployment.mjs';
import { sendRequest } from '../chaos/harness/http.mjs';
import { startProgram, stopProcess } from '../chaos/harness/processes.mjs';
import { mapConcurrently } from '../chaos/harness/wait-for.mjs';
import { headersFor } from './load.mjs';

/**
 * @typedef {object} Contestant what is measured
 * @property {string} name
 * @property {number[]} pids its processes
 * @property {string[]} origins where each of them listens
 * @property {string} host the `Host` of requests
 * @property {string[]} cookies the `Cookie` of each of its users
 * @property {boolean} hasSessions
 * @property {object} redis where its sessions are
 */

/** In the order of the table, each with what it is. */
export const contestants = {
  bare: 'node:http and undici, no sessions',
  floor: 'bare, HMAC of the cookie, one Redis GET, JSON.parse, bearer token',
  express: 'Express, express-session, connect-redis, undici',
  fastify: 'Fastify, @fastify/session, connect-redis, @fastify/reply-from',
  'express-openid-connect': 'express-openid-connect, connect-redis, and fetch as in its documentation',
  latchkey: 'Latchkey: production mode, Redis, log level info, metrics',
};

/** Access tokens of 1 KiB, as JWTs of some providers are; with refresh and ID token, a session has about 2 KB. */
export const accessTokenBytes = 1_024;
const randomText = (length) => randomBytes(length).toString('base64url').slice(0, length);
const createTokens = () => ({
  accessToken: randomText(accessTokenBytes),
  refreshToken: randomText(43),
  idToken: randomText(900),
  expiresAt: Date.now() + 86_400_000,
});

/**
 * Starts a contestant with `users` signed-in users, and checks that it works.
 * @returns {Promise<Contestant>}
 */
export async function startContestant(name, environment, { users }) {
  const contestant =
    name === 'latchkey'
      ? await startLatchkey(environment, { users })
      : name === 'express-openid-connect'
        ? await startExpressOpenidConnect(environment, users)
        : await startOther(name, environment, users);
  environment.pin(contestant.pids);
  await checkContestant(contestant);
  return contestant;
}

async function startOther(name, environment, users) {
  const { programs, apiUrl, redis } = environment;
  const { child, ready } = await startProgram(`proxy-${name}`, join(programs, `${name}.mjs`), [], {
    env: { PATH: process.env.PATH, NODE_ENV: 'production', API_URL: apiUrl, REDIS_URL: redis.url },
  });
  environment.closeAtEnd(() => stopProcess(child));
  const origin = `http://127.0.0.1:${ready.port}`;
  const hasSessions = name !== 'bare';
  const signIn = hasSessions ? () => signInAt(origin) : () => `sid=${randomText(87)}`;
  return {
    ...{ name, hasSessions, redis, host: new URL(origin).host },
    pids: [child.pid],
    origins: [origin],
    cookies: await mapConcurrently(Array.from({ length: users }), 12, signIn),
  };
}

async function signInAt(origin) {
  const { status, headers } = await sendRequest(`${origin}/sign-in`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ user: { sub: randomText(12), name: 'Alice Liddell' }, tokens: createTokens() }),
  });
  if (status !== 204) throw new Error(`the sign-in at ${origin} failed: ${status}`);
  return headers['set-cookie'][0].split(';')[0];
}

/**
 * Starts processes of Latchkey that share the Redis of the environment. Its users sign in at the provider.
 * @returns {Promise<Contestant>} and its `deployment`
 */
export function startLatchkey(environment, { name = 'latchkey', env = {}, ...options }) {
  const settings = { LOG_LEVEL: 'info', OAUTH2_API_BASE_URL: environment.apiUrl, ...env };
  return startApp(latchkey, environment, { ...options, name, env: settings });
}

async function startExpressOpenidConnect(environment, users) {
  await expressOpenidConnect.prepare();
  const env = { API_URL: environment.apiUrl };
  return startApp(expressOpenidConnect, environment, { name: 'express-openid-connect', users, env });
}

async function startApp(
  app,
  environment,
  { name, users = 0, processes = 1, env, redis = environment.redis },
) {
  const deployment = await startDeployment(app, {
    label: `proxy-${name}`,
    processes,
    redisUrl: redis.url,
    // No token is refreshed during a measurement.
    settings: { accessTokenSeconds: 86_400, accessTokenBits: accessTokenBytes * 6 },
    env,
  });
  environment.closeAtEnd(deployment.close);
  const browsers = await deployment.signIn(users);
  const pids = deployment.instances.map(({ pid }) => pid);
  return {
    ...{ name, pids, redis, deployment, hasSessions: true, host: new URL(deployment.publicOrigin).host },
    origins: deployment.instances.map(({ port }) => `http://127.0.0.1:${port}`),
    cookies: browsers.map(({ cookies }) => [...cookies].map((each) => each.join('=')).join('; ')),
  };
}

/** Throws unless the contestant forwards a request of its user, with a bearer token if it has one, and no other request. */
export async function checkContestant({ name, origins, host, cookies, hasSessions }) {
  for (const origin of origins) {
    const call = (headers) =>
      sendRequest(`${origin}/api/profile`, { headers: { ...headersFor({ host }), ...headers } });
    const { status, body } = await call({ cookie: cookies[0] });
    const { authorized } = status === 200 ? JSON.parse(body) : {};
    if (authorized !== hasSessions)
      throw new Error(`${name} responded with ${status}, token at the API: ${authorized}`);
    const withoutCookie = await call({});
    if (hasSessions && withoutCookie.status !== 401)
      throw new Error(`${name} responded with ${withoutCookie.status} to a request without a cookie`);
  }
}
