import { createHash, randomBytes } from 'node:crypto';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { type Faults, injectFaults } from './faults.ts';

export interface FakeResponse {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  /** JSON, or text as it is. */
  readonly body?: unknown;
}

export type GrantType = 'authorization_code' | 'refresh_token' | 'client_credentials';

/** What a token response is made of; each shape says in its own way. */
export interface Grant {
  readonly type: GrantType;
  readonly accessToken: string;
  /** Of a login, the new one; of a refresh, the one that would rotate in. */
  readonly refreshToken: string;
  readonly scope: string;
  readonly clientId: string;
  readonly nonce: string | undefined;
  readonly url: string;
}

export interface ApiRequest {
  readonly path: string;
  readonly query: URLSearchParams;
  readonly headers: IncomingMessage['headers'];
  /** True for a token of the application itself. */
  readonly isApp: boolean;
}

/** A provider as its documentation describes it: where, how, and in what words. */
export interface ProviderShape {
  readonly authorizePath: string;
  readonly tokenPath: string;
  readonly revocationPath?: string;
  readonly clientAuth: 'client_secret_basic' | 'client_secret_post';
  readonly grantTypes: readonly GrantType[];
  readonly granted: (grant: Grant) => unknown;
  readonly refused: Readonly<Record<'client' | 'code' | 'refresh_token' | 'grant_type', FakeResponse>>;
  /** To a request without a token, with one that nobody issued, or with one that has ended. */
  readonly unauthorized: (why: 'none' | 'unknown' | 'expired') => FakeResponse;
  /** By path; a pattern's groups are not needed, as the request is handed over. */
  readonly api: readonly (readonly [path: RegExp, answer: (request: ApiRequest) => FakeResponse])[];
  /** What anyone may read: discovery, keys. */
  readonly open?: Readonly<Record<string, (url: string) => unknown>>;
}

/** A provider and its API on one port; people consent at once. */
export interface FakeProvider {
  readonly url: string;
  readonly client: { readonly clientId: string; readonly clientSecret: string };
  readonly faults: Faults;
  readonly authorizations: URLSearchParams[];
  readonly tokenRequests: URLSearchParams[];
  readonly apiRequests: ApiRequest[];
  readonly revoked: string[];
  /** Every access token issued so far has expired. */
  expireAccessTokens(): void;
  /** And every refresh token is revoked. */
  revokeAllTokens(): void;
  /** The next logins and grants are answered with this made of what the shape says. */
  alterTokenResponses(change: ((answer: FakeResponse) => FakeResponse) | undefined): void;
  close(): Promise<void>;
}

interface Issued {
  readonly scope: string;
  readonly isApp?: boolean;
  ended?: boolean;
}

interface Code {
  readonly asked: URLSearchParams;
}

export async function startFakeProvider(shape: ProviderShape): Promise<FakeProvider> {
  const client = { clientId: randomBytes(16).toString('hex'), clientSecret: randomBytes(16).toString('hex') };
  const codes = new Map<string, Code>();
  const accessTokens = new Map<string, Issued>();
  const refreshTokens = new Map<string, Issued>();
  const authorizations: URLSearchParams[] = [];
  const tokenRequests: URLSearchParams[] = [];
  const apiRequests: ApiRequest[] = [];
  const revoked: string[] = [];
  let distortion: (answer: FakeResponse) => FakeResponse = (answer) => answer;

  function authorize(asked: URLSearchParams): FakeResponse {
    authorizations.push(asked);
    const isSound =
      asked.get('response_type') === 'code' &&
      asked.get('client_id') === client.clientId &&
      asked.get('code_challenge_method') === 'S256';
    const back = new URL(asked.get('redirect_uri') ?? 'about:blank');
    if (!isSound || back.pathname !== '/auth/callback') return { status: 400, body: 'INVALID_CLIENT' };
    const code = randomBytes(16).toString('hex');
    codes.set(code, { asked });
    back.search = new URLSearchParams({ code, state: asked.get('state') ?? '' }).toString();
    return { status: 302, headers: { location: back.href } };
  }

  function isOurClient(headers: IncomingMessage['headers'], form: URLSearchParams): boolean {
    const basic = `Basic ${Buffer.from(`${client.clientId}:${client.clientSecret}`).toString('base64')}`;
    return shape.clientAuth === 'client_secret_basic'
      ? headers.authorization === basic && !form.has('client_secret')
      : headers.authorization === undefined &&
          form.get('client_id') === client.clientId &&
          form.get('client_secret') === client.clientSecret;
  }

  function token(headers: IncomingMessage['headers'], form: URLSearchParams): FakeResponse {
    tokenRequests.push(form);
    if (!isOurClient(headers, form)) return shape.refused.client;
    const type = shape.grantTypes.find((each) => each === form.get('grant_type'));
    if (type === 'authorization_code') return redeem(form);
    if (type === 'refresh_token') {
      const held = refreshTokens.get(form.get('refresh_token') ?? '');
      return held && !held.ended ? grant(type, held.scope) : shape.refused.refresh_token;
    }
    return type === 'client_credentials' ? grant(type, '') : shape.refused.grant_type;
  }

  function revoke(headers: IncomingMessage['headers'], form: URLSearchParams): FakeResponse {
    if (!isOurClient(headers, form)) return shape.refused.client;
    const value = form.get('token') ?? '';
    revoked.push(value);
    for (const each of [accessTokens.get(value), refreshTokens.get(value)]) if (each) each.ended = true;
    return { status: 200, body: { revoked: true } };
  }

  function redeem(form: URLSearchParams): FakeResponse {
    const code = form.get('code') ?? '';
    const asked = codes.get(code)?.asked;
    codes.delete(code);
    const challenge = createHash('sha256')
      .update(form.get('code_verifier') ?? '')
      .digest('base64url');
    const isSound =
      asked?.get('code_challenge') === challenge && asked.get('redirect_uri') === form.get('redirect_uri');
    if (!asked || !isSound) return shape.refused.code;
    return grant('authorization_code', asked.get('scope') ?? '', asked.get('nonce') ?? undefined);
  }

  function grant(type: GrantType, scope: string, nonce?: string): FakeResponse {
    const [accessToken, refreshToken] = [randomBytes(24).toString('hex'), randomBytes(24).toString('hex')];
    accessTokens.set(accessToken, { scope, isApp: type === 'client_credentials' });
    refreshTokens.set(refreshToken, { scope });
    const body = shape.granted({
      ...{ type, accessToken, refreshToken, scope, nonce, url },
      clientId: client.clientId,
    });
    return { status: 200, headers: { 'cache-control': 'no-store' }, body };
  }

  function api(request: Omit<ApiRequest, 'isApp'>): FakeResponse {
    const bearer = /^Bearer (.+)$/.exec(request.headers.authorization ?? '')?.[1];
    const issued = accessTokens.get(bearer ?? '');
    const seen = { ...request, isApp: issued?.isApp ?? false };
    apiRequests.push(seen);
    if (bearer === undefined) return shape.unauthorized('none');
    if (!issued || issued.ended) return shape.unauthorized(issued ? 'expired' : 'unknown');
    const row = shape.api.find(([path]) => path.test(request.path));
    return row?.[1](seen) ?? { status: 404, body: { message: 'Not Found' } };
  }

  async function answer(req: IncomingMessage): Promise<FakeResponse> {
    const { pathname, searchParams } = new URL(req.url ?? '', url);
    if (pathname === shape.authorizePath) return authorize(searchParams);
    if (pathname === shape.tokenPath && req.method === 'POST')
      return distortion(token(req.headers, new URLSearchParams(await text(req))));
    if (pathname === shape.revocationPath && req.method === 'POST')
      return revoke(req.headers, new URLSearchParams(await text(req)));
    const open = shape.open?.[pathname];
    if (open) return { status: 200, body: open(url) };
    return api({ path: pathname, query: searchParams, headers: req.headers });
  }

  const server = createServer(async (req, res) => {
    const { status, headers, body } = await answer(req);
    const isJson = body !== undefined && typeof body !== 'string';
    res.writeHead(status, {
      ...(isJson && { 'content-type': 'application/json; charset=utf-8' }),
      ...headers,
    });
    res.end(isJson ? JSON.stringify(body) : body);
  });
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;

  return {
    url,
    client,
    faults: injectFaults(server),
    authorizations,
    tokenRequests,
    apiRequests,
    revoked,
    expireAccessTokens() {
      for (const each of accessTokens.values()) each.ended = true;
    },
    revokeAllTokens() {
      for (const each of [...accessTokens.values(), ...refreshTokens.values()]) each.ended = true;
    },
    alterTokenResponses(change) {
      distortion = change ?? ((each) => each);
    },
    async close() {
      server.closeAllConnections();
      await new Promise((done) => server.close(done));
    },
  };
}
