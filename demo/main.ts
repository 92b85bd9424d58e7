import { randomBytes } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import { openGardenHouse } from './garden-house.ts';
import { latchkeyEnvironment } from './latchkey-environment.ts';
import { startLatchkey } from './latchkey-process.ts';
import { begin, createLifetime, endWithParent } from './lifetime.ts';
import { readPort, requireFreePort, SetupFault } from './ports.ts';

const { env } = process;
const command = 'npm run demo';
const script = fileURLToPath(new URL('../main.js', import.meta.url));
const lifetime = createLifetime();
if (env.npm_lifecycle_event !== undefined) endWithParent(lifetime);

await begin(lifetime, async () => {
  const appPort = readPort(env, 'PORT', 3000);
  const appOrigin = `http://localhost:${appPort.port}`;
  const client = { clientId: 'latchkey-demo', clientSecret: randomBytes(32).toString('hex') };

  const providerPort = readPort(env, 'DEMO_PROVIDER_PORT', 3001);
  const apiPort = readPort(env, 'DEMO_API_PORT', 0, 0);
  const house = { client, appOrigin, host: '127.0.0.1', providerPort, apiPort, command };
  const { provider, api } = await openGardenHouse(house, lifetime);
  // Only now, so that a port given to two of the three is noticed too.
  await requireFreePort(appPort, command);
  if (lifetime.ending) return;

  const settings = {
    inherited: env,
    port: appPort.port,
    appOrigin,
    issuer: provider.issuer,
    apiUrl: api.url,
    client,
  };
  const latchkey = startLatchkey(script, appPort.port, latchkeyEnvironment(settings));
  lifetime.opened(() => latchkey.stop());
  latchkey.onEnd((exitCode) => lifetime.end(exitCode));

  const ready = await latchkey.ready();
  if (lifetime.ending) return;
  if (!ready) throw new SetupFault('Latchkey did not become ready within 30 seconds.');
  console.log(`Latchkey demo is running.

  Open      ${appOrigin}
  Sign in   alice or bob, any password
  Stop      Ctrl-C`);
});
