import { Redis } from 'ioredis';
import type { Browser } from '../../support/browser.ts';
import { sessionSecret } from '../../support/latchkey.ts';
import type { World } from '../../support/world.ts';
import { parseSessionId } from './logged-in.ts';

/** Everything of a world that must not be seen in the wrong place, as it comes to be. */
export interface Secrets {
  /** Access, refresh and ID tokens; of an ID token also its claims and its signature by themselves. */
  readonly tokens: Set<string>;
  readonly verifiers: Set<string>;
  readonly codes: Set<string>;
  /** The client's and the sessions' secret, and how the client's travels. */
  readonly keys: Set<string>;
  /** Session and binding cookies: values and ids. */
  readonly cookies: Set<string>;
}

/** Writes down what the provider receives and gives at its token endpoint, which no browser ever sees. */
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
  const keep = (into: Set<string>, value: unknown) => {
    if (typeof value === 'string' && value !== '') into.add(value);
  };
  world.provider.provider.use(async (ctx, next) => {
    await next();
    if (ctx.path !== '/token') return;
    const asked = ctx.oidc?.params ?? {};
    keep(secrets.verifiers, asked.code_verifier);
    keep(secrets.codes, asked.code);
    keep(secrets.tokens, asked.refresh_token);
    const given = (ctx.body ?? {}) as Record<string, unknown>;
    for (const name of ['access_token', 'refresh_token', 'id_token']) keep(secrets.tokens, given[name]);
    if (typeof given.id_token === 'string')
      for (const part of given.id_token.split('.').slice(1)) keep(secrets.tokens, part);
  });
  return secrets;
}

/** The cookies our origin ever set in this browser. */
export function collectCookies(browser: Browser, secrets: Secrets): void {
  for (const { response } of browser.exchanges)
    for (const [, name, value] of response.matchAll(/(latchkey(?:-login)?)=([^;"]+)/g)) {
      secrets.cookies.add(value!).add(decodeURIComponent(value!));
      if (name === 'latchkey') secrets.cookies.add(parseSessionId(value!));
    }
}

/** Where in `texts` one of `secrets` is to be read, as it is or as a URL, a form, JSON or base64 would spell it. */
export function findings(texts: readonly string[], ...secrets: readonly Set<string>[]): string[] {
  const needles = secrets.flatMap((set) => [...set]);
  return texts.flatMap((text) =>
    needles
      .filter((needle) => spellings(needle).some((each) => text.includes(each)))
      .map((needle) => `${needle.slice(0, 12)}... in ${text.slice(0, 300)}`),
  );
}

function spellings(secret: string): string[] {
  const base64 = [0, 1, 2].map((lead) => {
    // In base64 a text looks different at each of three offsets; the edges depend on the neighbours.
    const encoded = Buffer.from('x'.repeat(lead) + secret).toString('base64url');
    return encoded.slice(lead === 0 ? 0 : 4, -4);
  });
  return [secret, encodeURIComponent(secret), JSON.stringify(secret).slice(1, -1), ...base64];
}

/** Every value in Redis, as text. */
export async function valuesInRedis(): Promise<string[]> {
  const redis = new Redis(process.env.TEST_REDIS_URL!);
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
  if (type === 'none') return ''; // it has expired since
  throw new Error(`the scan cannot read a ${type} at ${key}`);
}
