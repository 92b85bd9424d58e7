import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { endChild, startChild } from '../harness/children.mjs';
import { exchange } from '../harness/http.mjs';
import { freePorts } from '../harness/ports.mjs';
import { until } from '../harness/waiting.mjs';

const manifest = fileURLToPath(new URL('../../package.json', import.meta.url));
const server = fileURLToPath(new URL('../peers/express-openid-connect-server.mjs', import.meta.url));
const house = fileURLToPath(new URL('../../../node_modules/.cache/latchkey-peer', import.meta.url));
const program = join(house, 'server.mjs');
const installed = join(house, 'installed.json');
const longestInstallMs = 120_000;

const { devDependencies } = JSON.parse(readFileSync(manifest, 'utf8'));

/** Installs what bench/package.json names into a folder of its own, unless that was done; rejects when npm cannot. */
async function prepare() {
  mkdirSync(house, { recursive: true });
  copyFileSync(server, program);
  const wanted = readFileSync(manifest, 'utf8');
  if (readIfThere(installed) === wanted) return;
  writeFileSync(join(house, 'package.json'), wanted);
  const install = [
    'install',
    '--no-audit',
    '--no-fund',
    '--fetch-retries=1',
    '--fetch-retry-mintimeout=1000',
    '--prefix',
    house,
  ];
  try {
    await promisify(execFile)('npm', install, { cwd: house, timeout: longestInstallMs });
  } catch ({ stderr, message }) {
    const why = stderr?.split('\n').find((line) => /^npm err/i.test(line));
    throw new Error(`npm cannot install express-openid-connect: ${why ?? message}`);
  }
  writeFileSync(installed, wanted);
}

function readIfThere(file) {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return undefined;
  }
}

const secret = randomBytes(32).toString('hex');

/** One process of the app. */
function instance({ name, world, env }) {
  const { provider, publicOrigin } = world;
  let child;

  const self = {
    name,
    port: undefined,
    async start() {
      const [port] = await freePorts(1);
      self.port = port;
      child = startChild(`${world.label}-${name}`, process.execPath, [program], {
        env: {
          PATH: process.env.PATH,
          NODE_ENV: 'production',
          PORT: String(port),
          ISSUER_BASE_URL: provider.issuer,
          BASE_URL: publicOrigin,
          CLIENT_ID: provider.clientId,
          CLIENT_SECRET: provider.clientSecret,
          SECRET: secret,
          SCOPE: 'openid profile offline_access read:profile read:data write:data',
          API_URL: provider.apiUrl,
          ...env,
        },
      });
      const answers = async () => (await exchange(`http://127.0.0.1:${port}/healthz`)).status === 200;
      if (!(await until(() => child.exitCode !== null || answers(), 20_000)) || child.exitCode !== null)
        throw new Error(`${name} does not start (exit code ${child.exitCode})`);
    },
    async end() {
      if (child) await endChild(child);
    },
  };
  return self;
}

export const expressOpenidConnect = {
  name: `express-openid-connect ${devDependencies['express-openid-connect']}`,
  paths: { login: '/auth/login', api: '/api/data', session: '/auth/session', logout: '/auth/logout' },
  logoutMethod: 'GET',
  prepare,
  instance,
  isLoggedOut: ({ body }) => !body.includes('"invalid_token"'),
};
