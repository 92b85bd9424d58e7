import { createServer, type Server } from 'node:http';
import express from 'express';
import type { default as OidcProvider } from 'oidc-provider';
import { interactionPages } from './interactions.ts';
import { closeServer, listen, localAddress } from './listening.ts';
import { type ProviderSettings, providerConfiguration } from './provider-configuration.ts';
import { Provider } from './quiet-oidc-provider.ts';

export interface DemoProviderOptions extends ProviderSettings {
  /** 0 takes any free port. */
  readonly port: number;
  /** The address to bind to. Default `127.0.0.1`. */
  readonly host?: string;
  /** The host in the issuer. Default `localhost`. */
  readonly publicHost?: string;
}

export interface DemoProvider {
  readonly issuer: string;
  readonly port: number;
  /** For a resource server on this machine: the bound address, so that no resolver has a say. */
  readonly introspectionUrl: string;
  /** The library's own instance, with its events (`grant.success`, `grant.revoked`, ...) and its middleware (`use`). */
  readonly provider: OidcProvider;
  readonly server: Server;
  close(): Promise<void>;
}

/** A running authorization server with alice and bob, one confidential client and one resource server. */
export async function startDemoProvider(options: DemoProviderOptions): Promise<DemoProvider> {
  const { host = '127.0.0.1', publicHost = 'localhost' } = options;
  const server = createServer();
  const port = await listen(server, options.port, host);

  const issuer = `http://${publicHost}:${port}`;
  const provider = new Provider(issuer, providerConfiguration(options));
  // Koa would print every browser that hangs up. What goes wrong inside still reaches `server_error` listeners.
  provider.silent = true;

  const app = express();
  app.disable('x-powered-by');
  app.use('/interaction', interactionPages(provider));
  // Composed anew for each request, so that middleware added later (a test's `provider.use`) counts.
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
