// Stores sessions as if their users had signed in: node seed-sessions.mjs DIST '{ "count": n, "cookies": n }', with the
// environment of a server of that build. They are written by the modules of the build, because each record is sealed for its
// session id. Prints the cookies of the first sessions as one line of JSON.
import { createHmac, randomBytes } from 'node:crypto';
import { join } from 'node:path';

const [dist, options] = process.argv.slice(2);
const { count, cookies, accessTokenBytes } = JSON.parse(options);
const load = (module) => import(join(dist, module));
const { loadConfig } = await load('config/load.js');
const { deriveKeys } = await load('crypto/sealing.js');
const { createDeps } = await load('deps.js');
const { createLogger } = await load('logger.js');
const { createSessionIds } = await load('session/session-id.js');

const parallel = 256;
const config = loadConfig(process.env);
const { session } = config;
const deps = createDeps(config, { log: createLogger('error', process.stderr) });
await deps.connected();
const ids = createSessionIds(session, Date.now);
const [cookieKey] = deriveKeys(session, 'session_cookie');

const randomText = (length) => randomBytes(length).toString('base64url').slice(0, length);

/** As express-session and its package cookie-signature write it. */
function createCookie(id) {
  const signature = createHmac('sha256', cookieKey).update(id).digest('base64').replace(/=+$/, '');
  return `${session.cookie.name}=${encodeURIComponent(`s:${id}.${signature}`)}`;
}

function createRecord(sub) {
  const now = Date.now();
  return {
    tokens: {
      accessToken: randomText(accessTokenBytes),
      tokenType: 'bearer',
      scope: ['openid', 'profile', 'read:profile', 'read:data', 'write:data'],
      issuedAt: now,
      expiresAt: now + 86_400_000,
      refreshToken: randomText(43),
      idToken: randomText(900),
    },
    user: { sub, name: 'Alice Liddell' },
    identity: { issuer: process.env.OAUTH2_ISSUER, subject: sub, sid: randomText(21) },
    signedInAt: now,
    userAgent:
      'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36',
  };
}

/** The data of express-session, which a login stores too. */
function storeData(id) {
  const { secure, sameSite } = session.cookie;
  const originalMaxAge = session.absoluteSeconds * 1000;
  const expires = new Date(Date.now() + originalMaxAge);
  const cookie = { originalMaxAge, expires, secure, httpOnly: true, path: '/', sameSite };
  return new Promise((resolve, reject) => {
    deps.sessionStore.set(id, { cookie, startedAt: Date.now() }, (error) =>
      error ? reject(error) : resolve(),
    );
  });
}

const created = [];
let next = 0;
async function createSessions() {
  while (next < count) {
    const sub = `user-${next++}`;
    const id = ids.create(sub);
    await Promise.all([deps.tokenStore.put(id, createRecord(sub)), storeData(id)]);
    if (created.length < cookies) created.push(createCookie(id));
  }
}
await Promise.all(Array.from({ length: parallel }, createSessions));
await deps.close();
console.log(JSON.stringify({ cookies: created }));
