import { randomBytes } from 'node:crypto';
import type { Lifetime } from './lifetime.ts';
import { type NamedPort, startOnPort } from './ports.ts';
import { type DemoProvider, startDemoProvider } from './provider.ts';
import type { ClientCredentials } from './provider-configuration.ts';
import { type DemoResourceServer, startDemoResourceServer } from './resource-server.ts';

export interface GardenHouseOptions {
  readonly client: ClientCredentials;
  /** Where the application runs, without a slash at the end. */
  readonly appOrigin: string;
  readonly host: string;
  readonly providerPort: NamedPort;
  readonly apiPort: NamedPort;
  /** How the person starts this process, for the line that says a port is taken. */
  readonly command: string;
}

export interface GardenHouse {
  readonly provider: DemoProvider;
  readonly api: DemoResourceServer;
}

/** The provider and the API, which trust each other by a secret nobody else has; both close with the process. */
export async function openGardenHouse(options: GardenHouseOptions, lifetime: Lifetime): Promise<GardenHouse> {
  const { client, appOrigin, host, providerPort, apiPort, command } = options;
  const resourceServer = { clientId: 'demo-api', clientSecret: randomBytes(32).toString('hex') };

  const provider = await startOnPort(providerPort, command, (port) =>
    startDemoProvider({
      ...client,
      port,
      host,
      redirectUris: [`${appOrigin}/auth/callback`],
      postLogoutRedirectUris: [`${appOrigin}/signed-out`],
      resourceServer,
    }),
  );
  lifetime.opened(() => provider.close());

  const { introspectionUrl } = provider;
  const api = await startOnPort(apiPort, command, (port) =>
    startDemoResourceServer({ ...resourceServer, port, host, introspectionUrl }),
  );
  lifetime.opened(() => api.close());

  return { provider, api };
}
