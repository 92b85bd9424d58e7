import { Redis } from 'ioredis';
import type { Browser } from '../../support/browser.ts';
import { sessionSecret } from '../../support/latchkey.ts';
import { testRedisUrl } from '../../support/test-redis.ts';
import type { World } from '../../support/world.ts';
import { parseSessionId } from './logged-in.ts';

/** Every secret value of a world, collected while it runs. */
export interface Secrets {
  /** Access, refresh and ID tokens; also the claims and the signature of each ID token. */
  readonly tokens: Set<string>;
  readonly verifiers: Set<string>;
  readonly codes: Set<string>;
  /** The client secret in each of its encodings, and the session secret. */
  readonly keys: Set<string>;
  /** Session and binding cookies: values and ids. */
  readonly cookies: Set<string>;
}

/** Collects the secrets in requests and responses of the token endpoint, which no browser sees. */
export function collectSecrets(world: World): Secrets {
  const { clientId, clientSecret } = world.client;
  const form = new URLSearchParams({ x: clientSecret }).toString().slice(2);
  const basic = [clientSecret, encodeURIComponent(clientSecret), form].map((each) =>
    Buffer.from(`${clientId}:${each}`).toString('base64'),
  );
  const secrets: Secrets = {
    tokens: new Set(),
    verifiers: new Set(),
    codes: new Set(),
    keys: new Set([clientSecret, encodeURIComponent(clientSecret), form, ...basic, sessionSecret]),
    cookies: new Set(),
  };
  const add = (into: Set<string>, value: unknown) => {
    if (typeof value === 'string' && value !== '') into.add(value);
  };
  world.provider.provider.use(async (ctx, next) => {
    await next();
    if (ctx.path !== '/token') return;
    const request = ctx.oidc?.params ?? {};
    add(secrets.verifiers, request.code_verifier);
    add(secrets.codes, request.code);
    add(secrets.tokens, request.refresh_token);
    const response = (ctx.body ?? {}) as Record<string, unknown>;
    for (const name of ['access_token', 'refresh_token', 'id_token']) add(secrets.tokens, response[name]);
    if (typeof response.id_token === 'string')
      for (const part of response.id_token.split('.').slice(1)) add(secrets.tokens, part);
  });
  return secrets;
}

/** Adds every cookie our origin has set in this browser. */
export function collectCookies(browser: Browser, secrets: Secrets): void {
  for (const { response } of browser.exchanges)
    for (const [, name, value] of response.matchAll(/(latchkey-\d+(?:-login)?)=([^;"]+)/g)) {
      secrets.cookies.add(value!).add(decodeURIComponent(value!));
      if (!name!.endsWith('-login')) secrets.cookies.add(parseSessionId(value!));
    }
}

/** The occurrences of `secrets` in `texts`, in plain text or encoded for a URL, a form, JSON or base64. */
export function findLeaks(texts: readonly string[], ...secrets: readonly Set<string>[]): string[] {
  const needles = secrets.flatMap((set) => [...set]);
  return texts.flatMap((text) =>
    needles
      .filter((needle) => encodings(needle).some((each) => text.includes(each)))
      .map((needle) => `${needle.slice(0, 12)}... in ${text.slice(0, 300)}`),
  );
}

function encodings(secret: string): string[] {
  const base64 = [0, 1, 2].map((offset) => {
    // Base64 differs for each of three offsets, and the edges depend on the neighbouring bytes.
    const encoded = Buffer.from('x'.repeat(offset) + secret).toString('base64url');
    return encoded.slice(offset === 0 ? 0 : 4, -4);
  });
  return [secret, encodeURIComponent(secret), JSON.stringify(secret).slice(1, -1), ...base64];
}

/** Every value in Redis, as text. */
export async function valuesInRedis(): Promise<string[]> {
  const redis = new Redis(testRedisUrl());
  try {
    const values: string[] = [];
    for await (const keys of redis.scanStream({ count: 500 }))
      for (const key of keys as string[]) values.push(await readKey(redis, key));
    return values;
  } finally {
    redis.disconnect();
  }
}

async function readKey(redis: Redis, key: string): Promise<string> {
  const type = await redis.type(key);
  if (type === 'stream') return JSON.stringify(await redis.xrange(key, '-', '+'));
  if (type === 'string') return (await redis.getBuffer(key))?.toString('latin1') ?? '';
  if (type === 'zset') return JSON.stringify(await redis.zrange(key, '0', '-1', 'WITHSCORES'));
  if (type === 'none') return ''; // it has expired since the scan
  throw new Error(`the scan cannot read a ${type} at ${key}`);
}
