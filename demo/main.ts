import { randomBytes } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import { createLatchkeyEnvironment, findIgnored } from './latchkey-environment.ts';
import { startLatchkey } from './latchkey-process.ts';
import { readPort, requireFreePort, SetupError } from './ports.ts';
import { startProviderAndApi } from './provider-and-api.ts';
import { createShutdown, exitWhenParentExits, runMain } from './shutdown.ts';

const { env } = process;
const command = 'npm run demo';
const script = fileURLToPath(new URL('../main.js', import.meta.url));
const shutdown = createShutdown();
if (env.npm_lifecycle_event !== undefined) exitWhenParentExits(shutdown);

await runMain(shutdown, async () => {
  const appPort = readPort(env, 'PORT', 3000);
  const appOrigin = `http://localhost:${appPort.port}`;
  const client = { clientId: 'latchkey-demo', clientSecret: randomBytes(32).toString('hex') };

  const providerPort = readPort(env, 'DEMO_PROVIDER_PORT', 3001);
  const apiPort = readPort(env, 'DEMO_API_PORT', 0, 0);
  const options = { client, appOrigin, host: '127.0.0.1', providerPort, apiPort, command };
  const { provider, api } = await startProviderAndApi(options, shutdown);
  // Checked after the others have started, to detect that the same port was set for two of the three.
  await requireFreePort(appPort, command);
  if (shutdown.inProgress) return;

  const latchkeyEnv = createLatchkeyEnvironment({
    inherited: env,
    port: appPort.port,
    appOrigin,
    issuer: provider.issuer,
    apiUrl: api.url,
    client,
  });
  const ignored = findIgnored(env);
  const latchkey = startLatchkey(script, appPort.port, latchkeyEnv);
  shutdown.register(() => latchkey.stop());
  latchkey.onExit((exitCode) => shutdown.start(exitCode));

  const isReady = await latchkey.waitUntilReady();
  if (shutdown.inProgress) return;
  if (!isReady) throw new SetupError('Latchkey did not become ready within 30 seconds.');
  console.log(`The Latchkey demo is running.

  Open      ${appOrigin}
  Sign in   as alice or bob, with any password
  Stop      Ctrl-C${ignored.length === 0 ? '' : `\n\n  Ignored   ${ignored.join(', ')}, because the demo has its own provider, API and sessions; npm run dev uses yours`}`);
});
