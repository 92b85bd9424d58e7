import { createServer, type Server } from 'node:http';
import express from 'express';
import type { default as OidcProvider } from 'oidc-provider';
import { createInteractionRouter } from './interactions.ts';
import { createProviderConfiguration, type ProviderSettings } from './provider-configuration.ts';
import { Provider } from './quiet-oidc-provider.ts';
import { closeServer, listen, localAddress } from './server.ts';

export interface DemoProviderOptions extends ProviderSettings {
  /** 0 for any free port. */
  readonly port: number;
  /** The address to bind to. Default `127.0.0.1`. */
  readonly host?: string;
  /** The host in the issuer. Default `localhost`. */
  readonly publicHost?: string;
}

export interface DemoProvider {
  readonly issuer: string;
  readonly port: number;
  /** For a resource server on this machine: uses the bound address, so it does not depend on name resolution. */
  readonly introspectionUrl: string;
  /** The oidc-provider instance, for its events (`grant.success`, `grant.revoked`, ...) and middleware (`use`). */
  readonly provider: OidcProvider;
  readonly server: Server;
  close(): Promise<void>;
}

/** Starts an authorization server with the users alice and bob, one confidential client and one resource server. */
export async function startDemoProvider(options: DemoProviderOptions): Promise<DemoProvider> {
  const { host = '127.0.0.1', publicHost = 'localhost' } = options;
  const server = createServer();
  const port = await listen(server, options.port, host);

  const issuer = `http://${publicHost}:${port}`;
  const provider = new Provider(issuer, createProviderConfiguration(options));
  // Otherwise Koa prints an error for every aborted request. Internal errors still reach `server_error` listeners.
  provider.silent = true;

  const app = express();
  app.disable('x-powered-by');
  app.use('/interaction', createInteractionRouter(provider));
  // Composed for each request, so that middleware added later (a test's `provider.use`) takes effect.
  app.use((req, res) => provider.callback()(req, res));
  server.on('request', app);

  return {
    issuer,
    port,
    introspectionUrl: `http://${localAddress(host)}:${port}${provider.pathFor('introspection')}`,
    provider,
    server,
    close: () => closeServer(server),
  };
}
