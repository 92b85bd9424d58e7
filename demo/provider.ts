import { randomBytes } from 'node:crypto';
import { createServer, type Server } from 'node:http';
import express from 'express';
import type { default as OidcProvider } from 'oidc-provider';
import { createInteractionRouter } from './interactions.ts';
import { MemoryAdapter } from './memory-adapter.ts';
import {
  createProviderConfiguration,
  createSigningKey,
  type ProviderSettings,
} from './provider-configuration.ts';
import { Provider } from './quiet-oidc-provider.ts';
import { scopeNames } from './scopes.ts';
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
  /** Replaces these settings; sessions, grants, tokens and sign-ins in progress continue. */
  update(settings: Partial<ProviderSettings>): void;
  close(): Promise<void>;
}

/** Starts an authorization server with the users alice and bob, one confidential client and one resource server. */
export async function startDemoProvider(options: DemoProviderOptions): Promise<DemoProvider> {
  const { host = '127.0.0.1', publicHost = 'localhost' } = options;
  const server = createServer();
  const port = await listen(server, options.port, host);

  const issuer = `http://${publicHost}:${port}`;
  const storage = new Map<string, MemoryAdapter>();
  const identity = {
    signingKey: createSigningKey(),
    cookieKey: randomBytes(32).toString('base64url'),
    adapterOf(name: string) {
      const adapter = storage.get(name) ?? new MemoryAdapter();
      storage.set(name, adapter);
      return adapter;
    },
  };
  let settings: ProviderSettings = options;
  let current = createApp();

  function createApp() {
    const scopes = [...new Set([...scopeNames, ...(settings.scopes ?? [])])];
    const provider = new Provider(issuer, createProviderConfiguration(settings, scopes, identity));
    // Otherwise Koa prints an error for every aborted request. Internal errors still reach `server_error` listeners.
    provider.silent = true;
    const app = express();
    app.disable('x-powered-by');
    app.use('/interaction', createInteractionRouter(provider, scopes));
    // Composed for each request, so that middleware added later (a test's `provider.use`) takes effect.
    app.use((req, res) => provider.callback()(req, res));
    return { provider, app };
  }
  server.on('request', (req, res) => current.app(req, res));

  return {
    issuer,
    port,
    introspectionUrl: `http://${localAddress(host)}:${port}${current.provider.pathFor('introspection')}`,
    get provider() {
      return current.provider;
    },
    server,
    update(changed) {
      settings = { ...settings, ...changed };
      current = createApp();
    },
    close: () => closeServer(server),
  };
}
