import { randomBytes } from 'node:crypto';
import { type PortSetting, startOnPort } from './ports.ts';
import { type DemoProvider, startDemoProvider } from './provider.ts';
import type { ClientCredentials } from './provider-configuration.ts';
import { type DemoResourceServer, startDemoResourceServer } from './resource-server.ts';
import type { Shutdown } from './shutdown.ts';

export interface DemoServicesOptions {
  readonly client: ClientCredentials;
  /** The origin of Latchkey, without a trailing slash. */
  readonly appOrigin: string;
  readonly host: string;
  readonly providerPort: PortSetting;
  readonly apiPort: PortSetting;
  /** The command that starts this process, shown in the message for a port in use. */
  readonly command: string;
}

export interface DemoServices {
  readonly provider: DemoProvider;
  readonly api: DemoResourceServer;
}

/** Starts the provider and the API with a random shared secret for introspection; `shutdown` closes both. */
export async function startProviderAndApi(
  options: DemoServicesOptions,
  shutdown: Shutdown,
): Promise<DemoServices> {
  const { client, appOrigin, host, providerPort, apiPort, command } = options;
  const resourceServer = { clientId: 'demo-api', clientSecret: randomBytes(32).toString('hex') };

  const provider = await startOnPort(providerPort, command, (port) =>
    startDemoProvider({
      ...client,
      port,
      host,
      redirectUris: [`${appOrigin}/auth/callback`],
      postLogoutRedirectUris: [`${appOrigin}/auth/signed-out`],
      backchannelLogoutUri: `${appOrigin}/auth/backchannel-logout`,
      resourceServer,
    }),
  );
  shutdown.register(() => provider.close());

  const { introspectionUrl } = provider;
  const api = await startOnPort(apiPort, command, (port) =>
    startDemoResourceServer({ ...resourceServer, port, host, introspectionUrl }),
  );
  shutdown.register(() => api.close());

  return { provider, api };
}
