import { randomBytes } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import { sendRequest } from './http.mjs';
import { startProgram, stopProcess } from './processes.mjs';
import { mapConcurrently } from './wait-for.mjs';

const program = fileURLToPath(new URL('../provider/main.mjs', import.meta.url));

/** Starts the provider with its API, and returns a client for its faults, settings and ledger. */
export async function startProvider({ publicOrigin, redirectUris = [], settings = {} }) {
  const client = { clientId: 'the-app', clientSecret: randomBytes(16).toString('hex') };
  const introspector = { clientId: 'the-bench', clientSecret: randomBytes(16).toString('hex') };
  const options = { ...client, introspector, publicOrigin, redirectUris, settings };
  const { child, ready } = await startProgram('provider', program, [JSON.stringify(options)]);
  const { port, apiPort } = ready;
  const issuer = `http://127.0.0.1:${port}`;

  async function callControl(path = '', change) {
    const request = change && { method: 'POST', body: JSON.stringify(change) };
    const response = await sendRequest(`${issuer}/_chaos${path}`, request);
    if (response.status !== 200)
      throw new Error(`the provider's control endpoint failed: ${response.status} ${response.error}`);
    return JSON.parse(response.body);
  }

  async function isActive(token) {
    const credentials = Buffer.from(`${introspector.clientId}:${introspector.clientSecret}`).toString(
      'base64',
    );
    const response = await sendRequest(`${issuer}/token/introspection`, {
      method: 'POST',
      headers: {
        authorization: `Basic ${credentials}`,
        'content-type': 'application/x-www-form-urlencoded',
      },
      body: new URLSearchParams({ token }).toString(),
    });
    if (response.status !== 200)
      throw new Error(`introspection failed: ${response.error ?? response.status}`);
    return JSON.parse(response.body).active;
  }

  return {
    ...client,
    issuer,
    apiUrl: `http://127.0.0.1:${apiPort}`,
    counters: () => callControl(),
    attempts: (account) => callControl(`/attempts${account ? `?account=${account}` : ''}`),
    revocations: () => callControl('/revocations'),
    tokens: () => callControl('/tokens'),
    /** Replaces all faults; without rules, requests succeed again. */
    setFaults: (...rules) => callControl('', { rules }),
    configure: (settings) => callControl('', settings),
    /** Introspects every token of these accounts: how many were checked, and those still active. */
    async introspectTokens(accounts) {
      const wanted = new Set(accounts);
      const tokens = (await callControl('/tokens')).filter(({ account }) => wanted.has(account));
      const results = await mapConcurrently(tokens, 16, ({ value }) => isActive(value));
      return { checked: tokens.length, active: tokens.filter((_, index) => results[index]) };
    },
    close: () => stopProcess(child),
  };
}
