import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { sendRequest } from '../harness/http.mjs';
import { freePorts } from '../harness/ports.mjs';
import { startProcess, stopProcess } from '../harness/processes.mjs';
import { waitFor } from '../harness/wait-for.mjs';

const root = fileURLToPath(new URL('../../..', import.meta.url));
const buildFolder = join(root, 'node_modules/.cache/latchkey-chaos');
let program = join(buildFolder, 'dist/main.js');
let envOfAll = {};

/**
 * Builds `src/` into a cache folder, so that `dist/` is left alone; with `build`, uses that build instead. Every process
 * gets the variables in `env`, unless its scenario sets them.
 */
function prepare({ build, env = {} } = {}) {
  envOfAll = env;
  if (build) {
    program = join(build, 'main.js');
    return;
  }
  rmSync(buildFolder, { recursive: true, force: true });
  mkdirSync(buildFolder, { recursive: true });
  writeFileSync(join(buildFolder, 'package.json'), '{ "type": "module" }\n');
  for (const folder of ['views', 'public']) symlinkSync(join(root, folder), join(buildFolder, folder));
  const compile = [
    'node_modules/typescript/bin/tsc',
    '-p',
    'tsconfig.build.json',
    '--outDir',
    join(buildFolder, 'dist'),
  ];
  try {
    execFileSync(process.execPath, compile, { cwd: root, stdio: 'pipe' });
  } catch (error) {
    console.error(`src/ has type errors; running the emitted code:\n${error.stdout}`);
    if (!existsSync(program)) throw error;
  }
}

/** Many processes start at the same time, on few cores. */
const startTimeoutMs = 60_000;

const sessionSecret = randomBytes(32).toString('hex');

/** The command that starts the app; with the folder of a cgroup, in that cgroup. */
function commandIn(cgroup) {
  const command = [process.execPath, program];
  return cgroup ? ['/bin/sh', '-c', 'echo $$ > "$0/cgroup.procs" && exec "$@"', cgroup, ...command] : command;
}

function createEnvironment({ name, deployment: { provider, publicOrigin }, port, metricsPort }) {
  return {
    PATH: process.env.PATH,
    NODE_ENV: 'production',
    LOG_LEVEL: 'warn',
    PORT: String(port),
    METRICS_PORT: String(metricsPort),
    OAUTH2_ISSUER: provider.issuer,
    OAUTH2_TOKEN_URL: `${provider.issuer}/via/${name}/token`,
    OAUTH2_REVOCATION_URL: `${provider.issuer}/via/${name}/token/revocation`,
    OAUTH2_CLIENT_ID: provider.clientId,
    OAUTH2_CLIENT_SECRET: provider.clientSecret,
    OAUTH2_REDIRECT_URI: `${publicOrigin}/auth/callback`,
    OAUTH2_SCOPES: 'openid profile read:profile read:data write:data',
    OAUTH2_API_BASE_URL: provider.apiUrl,
    SESSION_SECRET: sessionSecret,
    AUTH_RATE_LIMIT: '0', // all simulated users share one address
  };
}

/** One process of Latchkey. Its token and revocation URLs contain its name, so the provider can tell processes apart. */
function createInstance({ name, deployment, env }) {
  let child;

  const instance = {
    name,
    port: undefined,
    /** The environment of the process, once it was started. */
    env: undefined,
    isUp: false,
    get pid() {
      return child.pid;
    },
    /** Starts, kills, SIGTERMs, pauses and resumes as `{ at, act }`; `at` in epoch milliseconds. */
    history: [],
    async start() {
      const [port, metricsPort] =
        instance.port === undefined ? await freePorts(2) : [instance.port, instance.metricsPort];
      Object.assign(instance, { port, metricsPort });
      const [command, ...args] = commandIn(deployment.cgroup);
      instance.env = { ...createEnvironment({ name, deployment, port, metricsPort }), ...envOfAll, ...env };
      child = startProcess(`${deployment.label}-${name}`, command, args, { env: instance.env });
      const isHealthy = async () =>
        (await sendRequest(`http://127.0.0.1:${port}${paths.health}`)).status === 200;
      if (
        !(await waitFor(() => child.exitCode !== null || isHealthy(), startTimeoutMs)) ||
        child.exitCode !== null
      )
        throw new Error(`${name} did not start (exit code ${child.exitCode})`);
      instance.isUp = true;
      record('start');
    },
    async kill() {
      instance.isUp = false;
      record('kill');
      await stopProcess(child);
    },
    pause() {
      record('pause');
      child.kill('SIGSTOP');
    },
    resume() {
      child.kill('SIGCONT');
      record('resume');
    },
    /** Sends SIGTERM, and returns the exit code once the process has exited. */
    async terminate() {
      instance.isUp = false;
      record('terminate');
      await stopProcess(child, 'SIGTERM');
      return child.exitCode;
    },
    async stop() {
      if (child) await stopProcess(child);
    },
    /** The value of a gauge or counter, summed over its labels; undefined when it is missing. */
    async readMetric(metricName) {
      const { status, body } = await sendRequest(`http://127.0.0.1:${instance.metricsPort}/metrics`);
      const lines = body.split('\n').filter((line) => new RegExp(`^${metricName}[ {]`).test(line));
      if (status !== 200 || lines.length === 0) return undefined;
      return lines.reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0);
    },
  };
  const record = (act) => instance.history.push({ at: Date.now(), act });
  return instance;
}

const paths = {
  login: '/auth/login?return_to=/',
  api: '/api/data',
  session: '/auth/session',
  refresh: '/auth/refresh',
  logout: '/auth/logout',
  health: '/healthz',
  public: ['/', '/auth/sign-in', '/healthz'],
};

function isLoggedOut({ body }) {
  return body.includes('"login_required"');
}

/** The app under test. Another app that has the same members can run the same scenarios. */
export const latchkey = {
  name: 'latchkey',
  paths,
  prepare,
  /** The folder with the compiled modules, once it was prepared. */
  distFolder: () => dirname(program),
  createInstance,
  isLoggedOut,
  pendingRevocationsMetric: 'latchkey_revocations_pending',
  /** Matches the Redis keys of token records. */
  tokenKeyPattern: '*:tokens',
  /** Matches the Redis key of the stream of pending revocations. */
  revocationStreamPattern: 'latchkey:revocations:*',
};
