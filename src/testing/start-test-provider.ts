import { randomBytes } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import type { TestProvider, TestProviderHandle, TestProviderOptions, TestUser } from './api.ts';
import { createGrants, type Grants } from './grants.ts';
import { createSignIn } from './sign-in.ts';
import { createSigner, type Signer } from './signer.ts';

type Reply = { readonly status?: number; readonly location?: string; readonly json?: unknown };
type Handle = (request: {
  readonly params: URLSearchParams;
  readonly req: IncomingMessage;
}) => Reply | Promise<Reply>;

/** Starts an OpenID provider for tests (discovery, authorization code with PKCE, refresh with rotation, revocation, keys). */
export async function startTestProvider(options: TestProviderOptions = {}): Promise<TestProviderHandle> {
  const redirectUri = options.redirectUri ?? 'http://localhost:3000/auth/callback';
  const client = { id: 'latchkey-test', secret: randomBytes(24).toString('hex') };
  const signer = await createSigner();
  const grants = createGrants((options.accessTokenSeconds ?? 3_600) * 1000);
  const server = createServer();
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  const issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const handlers = createHandlers({ issuer, client, redirectUri, signer, grants });
  server.on('request', (req: IncomingMessage, res: ServerResponse) => {
    respond(handlers, issuer, req, res).catch(() => res.destroy()); // a malformed request does not end the tests
  });

  const provider: TestProvider = {
    issuer,
    settings: {
      OAUTH2_ISSUER: issuer,
      OAUTH2_CLIENT_ID: client.id,
      OAUTH2_CLIENT_SECRET: client.secret,
      OAUTH2_REDIRECT_URI: redirectUri,
      OAUTH2_SCOPES: 'openid profile email',
      SESSION_SECRET: randomBytes(32).toString('hex'),
      NODE_ENV: 'test',
    },
    setUser: grants.setUser,
    findToken: grants.findToken,
    expireAccessTokens: grants.expireAccessTokens,
    revokeRefreshTokens: grants.revokeRefreshTokens,
    counts: grants.counts,
  };
  const authorize = (params: URLSearchParams, user: TestUser) => grants.authorize(params, user);
  return {
    provider,
    signIn: createSignIn({ issuer, redirectUri, authorize }),
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

interface ProviderParts {
  readonly issuer: string;
  readonly client: { readonly id: string; readonly secret: string };
  readonly redirectUri: string;
  readonly signer: Signer;
  readonly grants: Grants;
}

function createHandlers({
  issuer,
  client,
  redirectUri,
  signer,
  grants,
}: ProviderParts): Record<string, Handle> {
  const basic = `Basic ${Buffer.from(`${client.id}:${client.secret}`).toString('base64')}`;
  const reject = (error: string, status = 400): Reply => ({ status, json: { error } });
  const withClient =
    (handle: Handle): Handle =>
    (request) => {
      const { params, req } = request;
      const isPost = params.get('client_id') === client.id && params.get('client_secret') === client.secret;
      return req.headers.authorization === basic || isPost ? handle(request) : reject('invalid_client', 401);
    };

  return {
    'GET /.well-known/openid-configuration': () => ({
      json: {
        issuer,
        authorization_endpoint: `${issuer}/authorize`,
        token_endpoint: `${issuer}/token`,
        jwks_uri: `${issuer}/jwks`,
        revocation_endpoint: `${issuer}/revoke`,
        end_session_endpoint: `${issuer}/logout`,
        response_types_supported: ['code'],
        subject_types_supported: ['public'],
        id_token_signing_alg_values_supported: [signer.alg],
        code_challenge_methods_supported: ['S256'],
        token_endpoint_auth_methods_supported: ['client_secret_basic', 'client_secret_post'],
      },
    }),
    'GET /jwks': () => ({ json: signer.jwks }),
    'GET /authorize'({ params }) {
      if (params.get('client_id') !== client.id || params.get('redirect_uri') !== redirectUri)
        return reject('invalid_request');
      return { status: 303, location: grants.authorize(params).href };
    },
    'POST /token': withClient(async ({ params }) => {
      const granted = grants.redeem(params);
      if (!granted) return reject('invalid_grant');
      const { user, nonce, ...tokens } = granted;
      const claims = { ...user.claims, ...(nonce !== undefined && { nonce }) };
      const id_token = await signer.sign(claims, { issuer, audience: client.id, subject: user.sub });
      return { json: { ...tokens, ...(tokens.scope.split(' ').includes('openid') && { id_token }) } };
    }),
    'POST /revoke': withClient(({ params }) => {
      grants.revoke(params.get('token') ?? '');
      return {};
    }),
    'GET /logout'({ params }) {
      const location = params.get('post_logout_redirect_uri');
      return location === null ? {} : { status: 303, location };
    },
  };
}

async function respond(
  handlers: Record<string, Handle>,
  issuer: string,
  req: IncomingMessage,
  res: ServerResponse,
): Promise<void> {
  const { pathname, searchParams } = new URL(issuer + (req.url ?? '/'));
  const handle = handlers[`${req.method} ${pathname}`];
  const params = req.method === 'POST' ? new URLSearchParams(await text(req)) : searchParams;
  const { status = 200, location, json } = handle ? await handle({ params, req }) : { status: 404 };
  res.writeHead(status, {
    'Cache-Control': 'no-store',
    ...(location !== undefined && { Location: location }),
    ...(json !== undefined && { 'Content-Type': 'application/json' }),
  });
  res.end(json === undefined ? undefined : JSON.stringify(json));
}
