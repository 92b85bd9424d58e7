import { randomBytes } from 'node:crypto';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { endChild, startChild } from './children.mjs';
import { exchange } from './http.mjs';
import { eachOf } from './waiting.mjs';

const program = fileURLToPath(new URL('../provider/main.mjs', import.meta.url));

/** A running provider with its API, and what a scenario may do to it and ask of it. */
export async function startProvider({ publicOrigin, redirectUris = [], settings = {} }) {
  const client = { clientId: 'the-app', clientSecret: randomBytes(16).toString('hex') };
  const introspector = { clientId: 'the-bench', clientSecret: randomBytes(16).toString('hex') };
  const options = { ...client, introspector, publicOrigin, redirectUris, settings };
  const child = startChild('provider', process.execPath, [program, JSON.stringify(options)], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const ready = await new Promise((resolve, reject) => {
    createInterface({ input: child.stdout }).once('line', resolve);
    child.ended.then(() => reject(new Error('the provider ended')));
  });
  const { port, apiPort } = JSON.parse(ready);
  const issuer = `http://127.0.0.1:${port}`;

  async function chaos(path = '', change) {
    const how = change && { method: 'POST', body: JSON.stringify(change) };
    const answer = await exchange(`${issuer}/_chaos${path}`, how);
    if (answer.status !== 200)
      throw new Error(`the provider's control says ${answer.status} ${answer.error}`);
    return JSON.parse(answer.body);
  }

  async function isActive(token) {
    const credentials = Buffer.from(`${introspector.clientId}:${introspector.clientSecret}`).toString(
      'base64',
    );
    const answer = await exchange(`${issuer}/token/introspection`, {
      method: 'POST',
      headers: {
        authorization: `Basic ${credentials}`,
        'content-type': 'application/x-www-form-urlencoded',
      },
      body: new URLSearchParams({ token }).toString(),
    });
    if (answer.status !== 200) throw new Error(`introspection says ${answer.error ?? answer.status}`);
    return JSON.parse(answer.body).active;
  }

  return {
    ...client,
    issuer,
    apiUrl: `http://127.0.0.1:${apiPort}`,
    counters: () => chaos(),
    attempts: (account) => chaos(`/attempts${account ? `?account=${account}` : ''}`),
    revocations: () => chaos('/revocations'),
    tokens: () => chaos('/tokens'),
    /** Faults from now on; none when called without. */
    befall: (...rules) => chaos('', { rules }),
    set: (settings) => chaos('', settings),
    /** The tokens of these accounts that introspection still calls active. */
    async alive(accounts) {
      const wanted = new Set(accounts);
      const all = (await chaos('/tokens')).filter(({ account }) => wanted.has(account));
      const active = await eachOf(all, 16, ({ value }) => isActive(value));
      return { asked: all.length, active: all.filter((_, index) => active[index]) };
    },
    close: () => endChild(child),
  };
}
