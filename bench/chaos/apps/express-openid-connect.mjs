import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { sendRequest } from '../harness/http.mjs';
import { freePorts } from '../harness/ports.mjs';
import { startProcess, stopProcess } from '../harness/processes.mjs';
import { waitFor } from '../harness/wait-for.mjs';

const manifest = fileURLToPath(new URL('../../package.json', import.meta.url));
const lockFile = fileURLToPath(new URL('../../package-lock.json', import.meta.url));
const server = fileURLToPath(
  new URL('../other-libraries/express-openid-connect-server.mjs', import.meta.url),
);
const installFolder = fileURLToPath(new URL('../../../node_modules/.cache/latchkey-peer', import.meta.url));
const program = join(installFolder, 'server.mjs');
const installedLock = join(installFolder, 'installed-lock.json');
const maxInstallMs = 120_000;

const { devDependencies } = JSON.parse(readFileSync(manifest, 'utf8'));

/** Installs the packages of bench/package-lock.json into a cache folder unless they are there; rejects when npm fails. */
async function prepare() {
  mkdirSync(installFolder, { recursive: true });
  copyFileSync(server, program);
  const wanted = readFileSync(lockFile, 'utf8');
  if (readIfExists(installedLock) === wanted) return;
  copyFileSync(manifest, join(installFolder, 'package.json'));
  copyFileSync(lockFile, join(installFolder, 'package-lock.json'));
  const args = [
    'ci',
    '--no-audit',
    '--no-fund',
    '--fetch-retries=1',
    '--fetch-retry-mintimeout=1000',
    '--prefix',
    installFolder,
  ];
  try {
    await promisify(execFile)('npm', args, { cwd: installFolder, timeout: maxInstallMs });
  } catch ({ stderr, message }) {
    const reason = stderr?.split('\n').find((line) => /^npm err/i.test(line));
    throw new Error(`npm cannot install express-openid-connect: ${reason ?? message}`);
  }
  writeFileSync(installedLock, wanted);
}

function readIfExists(file) {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return undefined;
  }
}

const secret = randomBytes(32).toString('hex');

/** One process of the app. */
function createInstance({ name, deployment, env }) {
  const { provider, publicOrigin } = deployment;
  let child;

  const instance = {
    name,
    port: undefined,
    async start() {
      const [port] = await freePorts(1);
      instance.port = port;
      child = startProcess(`${deployment.label}-${name}`, process.execPath, [program], {
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
      const isHealthy = async () => (await sendRequest(`http://127.0.0.1:${port}/healthz`)).status === 200;
      if (!(await waitFor(() => child.exitCode !== null || isHealthy(), 20_000)) || child.exitCode !== null)
        throw new Error(`${name} did not start (exit code ${child.exitCode})`);
    },
    async stop() {
      if (child) await stopProcess(child);
    },
  };
  return instance;
}

export const expressOpenidConnect = {
  name: `express-openid-connect ${devDependencies['express-openid-connect']}`,
  paths: { login: '/auth/login', api: '/api/data', session: '/auth/session', logout: '/auth/logout' },
  logoutMethod: 'GET',
  prepare,
  createInstance,
  isLoggedOut: ({ body }) => !body.includes('"invalid_token"'),
};
