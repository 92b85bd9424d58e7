import { randomBytes } from 'node:crypto';
import { sendRequest } from '../harness/http.mjs';
import { copyProgram, installPackages, packageVersions } from '../harness/packages.mjs';
import { freePorts } from '../harness/ports.mjs';
import { startProcess, stopProcess } from '../harness/processes.mjs';
import { waitFor } from '../harness/wait-for.mjs';

const server = new URL('../other-libraries/express-openid-connect-server.mjs', import.meta.url);
let program;

async function prepare() {
  await installPackages();
  program = copyProgram(server);
}

const secret = randomBytes(32).toString('hex');

/** One process of the app. */
function createInstance({ name, deployment, env }) {
  const { provider, publicOrigin } = deployment;
  let child;

  const instance = {
    name,
    port: undefined,
    get pid() {
      return child?.pid;
    },
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
  name: `express-openid-connect ${packageVersions['express-openid-connect']}`,
  paths: { login: '/auth/login', api: '/api/data', session: '/auth/session', logout: '/auth/logout' },
  logoutMethod: 'GET',
  prepare,
  createInstance,
  isLoggedOut: ({ body }) => !body.includes('"invalid_token"'),
};
