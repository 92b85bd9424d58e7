import { randomBytes } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import { readPort, requireFreePort, SetupError } from '../ports.ts';
import type { DemoServices } from '../provider-and-api.ts';
import { createShutdown, exitWhenParentExits, runMain } from '../shutdown.ts';
import { createOverrides, type DemoSettings, readSettings, type Settings } from './environment.ts';
import { createInstances, type Report } from './instances.ts';
import { type Options, parseOptions, usage } from './options.ts';
import { formatSummary } from './summary.ts';
import { watchFiles } from './watcher.ts';

/** A process that has served for less is not started again when it exits, as it would exit again. */
const minUptimeMs = 5_000;

const { env } = process;
const isSource = import.meta.url.endsWith('.ts');
const isNpmScript = env.npm_lifecycle_event !== undefined;
const command = isSource ? 'npm run dev' : 'latchkey dev';
const folder = process.cwd();
const root = fileURLToPath(new URL(isSource ? '../../' : '../../../', import.meta.url));
const shutdown = createShutdown();
if (isNpmScript) exitWhenParentExits(shutdown);
// The terminal is gone, or the reader of a pipe such as `head`.
for (const stream of [process.stdout, process.stderr]) stream.on('error', () => shutdown.start(0));

await runMain(shutdown, async () => {
  const options = parseOptions(process.argv.slice(process.argv[2] === 'dev' ? 3 : 2));
  if (options === 'help') {
    process.stdout.write(usage);
    shutdown.start(0);
  } else await develop(options);
});

async function develop(options: Options): Promise<void> {
  const sessionSecret = randomBytes(32).toString('hex');
  const client = { clientId: 'latchkey-dev', clientSecret: randomBytes(32).toString('hex') };
  let settings = readSettings(env, folder, options);
  let demo: DemoServices | undefined;
  let startingDemo: Promise<DemoServices> | undefined;
  /** An error of the first start ends the command; later ones are reported, and the next change tries again. */
  let isStarting = true;
  let startedAt = performance.now();
  let cause = '';

  await requireFreePort({ variable: 'PORT', port: settings.port }, command);

  const watched = ['.env', 'the route table', 'views/texts/', ...(isSource ? ['src/'] : [])];
  const watcher = await watchFiles({
    folders: [`${root}views/texts`, ...(isSource ? [`${root}src`] : [])],
    includes: (path) => /\.(ts|json)$/.test(path),
    root: folder,
    report: say,
    onChange: (paths, firstAt) => {
      startedAt = firstAt;
      cause =
        paths.length > 3
          ? `${paths.slice(0, 3).join(', ')} and ${paths.length - 3} others`
          : paths.join(', ');
      restart().catch(() => undefined); // it is reported, or ends the first start
    },
  }).catch(explainMissing);
  shutdown.register(() => watcher.close());
  watchSettings();

  let isFirst = true;
  const instances = createInstances({
    script: fileURLToPath(new URL(isSource ? './worker.ts' : './worker.js', import.meta.url)),
    report: say,
    onListening: (report) => updateDemo(report),
    onServing(report) {
      const seconds = ((performance.now() - startedAt) / 1000).toFixed(2);
      if (isFirst) console.log(`\n${formatSummary({ settings, report, demo: demoSettings(), watched })}`);
      else say(`restarted in ${seconds} s (${cause})`);
      isFirst = false;
    },
    onFailed(_exitCode, isServing) {
      say(
        isServing
          ? 'the restart has failed (see above), so Latchkey continues as it was; save again to restart it'
          : 'Latchkey has not started (see above); it will start after the next change',
      );
    },
    onCrashed(uptimeMs) {
      cause = 'after the error above';
      startedAt = performance.now();
      if (uptimeMs < minUptimeMs)
        say('Latchkey has stopped (see above); it will start after the next change');
      else restart().catch(() => undefined);
    },
  });
  shutdown.register(() => instances.stop());
  await restart();
  isStarting = false;

  /** Two changes in a row must not start two providers. */
  function startDemoOnce(wanted: Settings): Promise<DemoServices> {
    startingDemo ??= startDemo(wanted).catch((error: unknown) => {
      startingDemo = undefined;
      throw error;
    });
    return startingDemo;
  }

  /** Starts Latchkey with the settings as they are now. */
  async function restart(): Promise<void> {
    try {
      settings = readSettings(env, folder, options);
      if (settings.usesDemoProvider) demo = await startDemoOnce(settings);
    } catch (error) {
      if (isStarting) throw error;
      say(`${error instanceof Error ? error.message : error} Latchkey continues as it was.`);
      return;
    }
    watchSettings();
    if (shutdown.inProgress) return;
    const overrides = createOverrides(settings, options, { sessionSecret, demo: demoSettings() });
    instances.start({ ...env, ...overrides });
  }

  function watchSettings(): void {
    watcher.setFiles([`${folder}/.env`, ...settings.files]);
  }

  function demoSettings(): DemoSettings | undefined {
    if (!demo || !settings.usesDemoProvider) return undefined;
    return { ...client, issuer: demo.provider.issuer, apiUrl: demo.api.url };
  }

  async function startDemo({ port }: Settings): Promise<DemoServices> {
    const { startProviderAndApi } = await import('../provider-and-api.ts').catch(explainMissing);
    const services = { client, host: '127.0.0.1', appOrigin: `http://localhost:${port}`, command };
    const apiPort = readPort(env, 'DEMO_API_PORT', 0, 0);
    const providerPort = readPort(env, 'DEMO_PROVIDER_PORT', 3001);
    const isChosen = Boolean(env.DEMO_PROVIDER_PORT?.trim());
    const isFree = await requireFreePort(providerPort, command).then(
      () => providerPort.port !== port,
      () => false,
    );
    // A second `latchkey dev` takes any other port.
    const provider = isFree || isChosen ? providerPort : { ...providerPort, port: 0 };
    return startProviderAndApi({ ...services, providerPort: provider, apiPort }, shutdown);
  }

  function updateDemo(report: Report): void {
    demo?.provider.update({
      redirectUris: [report.redirectUri],
      postLogoutRedirectUris: [report.postLogoutRedirectUri],
      backchannelLogoutUri: report.backchannelLogoutUri,
      scopes: report.scopes,
    });
  }
}

function explainMissing(error: unknown): never {
  if (!(error instanceof Error && 'code' in error && error.code === 'ERR_MODULE_NOT_FOUND')) throw error;
  throw new SetupError(
    'latchkey dev needs the packages chokidar and oidc-provider, but this installation has no optional dependencies, like the production image. Install them with: npm install --include=optional',
  );
}

function say(message: string): void {
  console.log(`latchkey dev: ${message}`);
}
