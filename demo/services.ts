import { openGardenHouse } from './garden-house.ts';
import { begin, createLifetime } from './lifetime.ts';
import { readPort } from './ports.ts';

// The demo provider and the demo API alone, for docker compose; the application is another container.
const { env } = process;
const lifetime = createLifetime();

await begin(lifetime, async () => {
  const { port: appPort } = readPort(env, 'PORT', 3000);
  const { provider, api } = await openGardenHouse(
    {
      client: {
        clientId: env.OAUTH2_CLIENT_ID || 'latchkey-demo',
        clientSecret: env.OAUTH2_CLIENT_SECRET || 'demo-only-client-secret',
      },
      appOrigin: `http://localhost:${appPort}`,
      host: env.DEMO_HOST || '127.0.0.1',
      providerPort: readPort(env, 'DEMO_PROVIDER_PORT', 3001),
      apiPort: readPort(env, 'DEMO_API_PORT', 3002, 0),
      command: 'node dist/demo/services.js',
    },
    lifetime,
  );
  console.log(`Demo provider at ${provider.issuer}, demo API at ${api.url}`);
});
