import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { endChild, startChild } from '../harness/children.mjs';
import { exchange } from '../harness/http.mjs';
import { freePorts } from '../harness/ports.mjs';
import { until } from '../harness/waiting.mjs';

const root = fileURLToPath(new URL('../../..', import.meta.url));
const house = join(root, 'node_modules/.cache/latchkey-chaos');
let program = join(house, 'dist/main.js');

/** Latchkey as it is in `src/` now, built into a folder of its own so that no other build is disturbed. */
function prepare({ build } = {}) {
  if (build) {
    program = join(build, 'main.js');
    return;
  }
  rmSync(house, { recursive: true, force: true });
  mkdirSync(house, { recursive: true });
  writeFileSync(join(house, 'package.json'), '{ "type": "module" }\n');
  for (const folder of ['views', 'public']) symlinkSync(join(root, folder), join(house, folder));
  const compile = [
    'node_modules/typescript/bin/tsc',
    '-p',
    'tsconfig.build.json',
    '--outDir',
    join(house, 'dist'),
  ];
  try {
    execFileSync(process.execPath, compile, { cwd: root, stdio: 'pipe' });
  } catch (error) {
    console.error(`src/ has type errors; what was emitted is used:\n${error.stdout}`);
    if (!existsSync(program)) throw error;
  }
}

const sessionSecret = randomBytes(32).toString('hex');

/** One process of Latchkey; the provider knows it by its name, as its token endpoint has the name in its path. */
function instance({ name, world, env }) {
  const { provider, publicOrigin } = world;
  let child;

  const self = {
    name,
    port: undefined,
    isUp: false,
    get pid() {
      return child.pid;
    },
    /** What was done to it: `{ at, act }`, epoch milliseconds. */
    history: [],
    async start() {
      const [port, metricsPort] =
        self.port === undefined ? await freePorts(2) : [self.port, self.metricsPort];
      Object.assign(self, { port, metricsPort });
      child = startChild(`${world.label}-${name}`, process.execPath, [program], {
        env: {
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
          AUTH_RATE_LIMIT: '0', // all of its people come from one address
          ...env,
        },
      });
      const answers = async () => (await exchange(`http://127.0.0.1:${port}${paths.health}`)).status === 200;
      if (!(await until(() => child.exitCode !== null || answers(), 20_000)) || child.exitCode !== null)
        throw new Error(`${name} does not start (exit code ${child.exitCode})`);
      self.isUp = true;
      note('start');
    },
    async kill() {
      self.isUp = false;
      note('kill');
      await endChild(child);
    },
    pause() {
      note('pause');
      child.kill('SIGSTOP');
    },
    resume() {
      child.kill('SIGCONT');
      note('resume');
    },
    async end() {
      if (child) await endChild(child);
    },
    /** A gauge or counter by its name, summed over its labels; undefined when it is not there. */
    async metric(wanted) {
      const { status, body } = await exchange(`http://127.0.0.1:${self.metricsPort}/metrics`);
      const lines = body.split('\n').filter((line) => new RegExp(`^${wanted}[ {]`).test(line));
      if (status !== 200 || lines.length === 0) return undefined;
      return lines.reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0);
    },
  };
  const note = (act) => self.history.push({ at: Date.now(), act });
  return self;
}

const paths = {
  login: '/auth/login?return_to=/',
  api: '/api/data',
  session: '/auth/session',
  refresh: '/auth/refresh',
  logout: '/auth/logout',
  health: '/healthz',
  public: ['/', '/login', '/healthz'],
};

function isLoggedOut({ body }) {
  return body.includes('"login_required"');
}

/** The app under test; another one needs the same members to be put through the same scenarios. */
export const latchkey = {
  name: 'latchkey',
  paths,
  prepare,
  instance,
  isLoggedOut,
  pendingRevocations: 'latchkey_revocations_pending',
  /** The keys that hold tokens in Redis. */
  tokenKeys: '*:tokens',
};
