import { readPort } from './ports.ts';
import { startProviderAndApi } from './provider-and-api.ts';
import { createShutdown, runMain } from './shutdown.ts';

// Only the demo provider and the demo API, for docker compose; Latchkey runs in a container of its own.
const { env } = process;
const shutdown = createShutdown();

await runMain(shutdown, async () => {
  const { port: appPort } = readPort(env, 'PORT', 3000);
  const { provider, api } = await startProviderAndApi(
    {
      client: {
        clientId: env.OAUTH2_CLIENT_ID || 'latchkey-demo',
        clientSecret: env.OAUTH2_CLIENT_SECRET || 'demo-only-client-secret',
      },
      appOrigin: `http://localhost:${appPort}`,
      host: env.DEMO_HOST || '127.0.0.1',
      providerPort: readPort(env, 'DEMO_PROVIDER_PORT', 3001),
      apiPort: readPort(env, 'DEMO_API_PORT', 3002, 0),
      command: 'node dist/demo/start-services.js',
    },
    shutdown,
  );
  console.log(`Demo provider: ${provider.issuer}, demo API: ${api.url}`);
});
