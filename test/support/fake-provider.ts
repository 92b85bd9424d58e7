import { createHash, randomBytes } from 'node:crypto';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { type Faults, injectFaults } from './faults.ts';

export interface FakeResponse {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  /** A string is sent as it is, anything else as JSON. */
  readonly body?: unknown;
}

export type GrantType = 'authorization_code' | 'refresh_token' | 'client_credentials';

/** The data of a token response, which each `ProviderShape` formats in its own way. */
export interface Grant {
  readonly type: GrantType;
  readonly accessToken: string;
  /** A new one for each grant; a provider that does not rotate refresh tokens omits it after a refresh. */
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
  /** True for a token of the client credentials grant. */
  readonly isApp: boolean;
}

/** A provider as its documentation describes it: paths, client authentication, and the format of its responses. */
export interface ProviderShape {
  readonly authorizePath: string;
  readonly tokenPath: string;
  readonly revocationPath?: string;
  readonly clientAuth: 'client_secret_basic' | 'client_secret_post';
  readonly grantTypes: readonly GrantType[];
  readonly tokenResponse: (grant: Grant) => unknown;
  readonly tokenErrors: Readonly<Record<'client' | 'code' | 'refresh_token' | 'grant_type', FakeResponse>>;
  /** The API's response to a request without a token, with an unknown one, or with an expired or revoked one. */
  readonly unauthorized: (why: 'none' | 'unknown' | 'expired') => FakeResponse;
  /** The API's responses by path; the first pattern that matches is used. */
  readonly api: readonly (readonly [path: RegExp, respond: (request: ApiRequest) => FakeResponse])[];
  /** Documents that need no token: discovery, keys. */
  readonly publicDocuments?: Readonly<Record<string, (url: string) => unknown>>;
}

/** A provider and its API on one port, which grants every login without user interaction. */
export interface FakeProvider {
  readonly url: string;
  readonly client: { readonly clientId: string; readonly clientSecret: string };
  readonly faults: Faults;
  readonly authorizations: URLSearchParams[];
  readonly tokenRequests: URLSearchParams[];
  readonly apiRequests: ApiRequest[];
  readonly revoked: string[];
  /** Makes every access token issued so far expire. */
  expireAccessTokens(): void;
  /** Revokes every access and refresh token issued so far. */
  revokeAllTokens(): void;
  /** Passes every token response through `change` from now on; `undefined` stops that. */
  alterTokenResponses(change: ((response: FakeResponse) => FakeResponse) | undefined): void;
  close(): Promise<void>;
}

interface IssuedToken {
  readonly scope: string;
  readonly isApp?: boolean;
  isInvalid?: boolean;
}

export async function startFakeProvider(shape: ProviderShape): Promise<FakeProvider> {
  const client = { clientId: randomBytes(16).toString('hex'), clientSecret: randomBytes(16).toString('hex') };
  const codes = new Map<string, URLSearchParams>(); // the authorization request of each code
  const accessTokens = new Map<string, IssuedToken>();
  const refreshTokens = new Map<string, IssuedToken>();
  const authorizations: URLSearchParams[] = [];
  const tokenRequests: URLSearchParams[] = [];
  const apiRequests: ApiRequest[] = [];
  const revoked: string[] = [];
  let alterTokenResponse: (response: FakeResponse) => FakeResponse = (response) => response;

  function authorize(params: URLSearchParams): FakeResponse {
    authorizations.push(params);
    const isValid =
      params.get('response_type') === 'code' &&
      params.get('client_id') === client.clientId &&
      params.get('code_challenge_method') === 'S256';
    const redirectUrl = new URL(params.get('redirect_uri') ?? 'about:blank');
    if (!isValid || redirectUrl.pathname !== '/auth/callback') return { status: 400, body: 'INVALID_CLIENT' };
    const code = randomBytes(16).toString('hex');
    codes.set(code, params);
    redirectUrl.search = new URLSearchParams({ code, state: params.get('state') ?? '' }).toString();
    return { status: 302, headers: { location: redirectUrl.href } };
  }

  function isRegisteredClient(headers: IncomingMessage['headers'], form: URLSearchParams): boolean {
    const basic = `Basic ${Buffer.from(`${client.clientId}:${client.clientSecret}`).toString('base64')}`;
    return shape.clientAuth === 'client_secret_basic'
      ? headers.authorization === basic && !form.has('client_secret')
      : headers.authorization === undefined &&
          form.get('client_id') === client.clientId &&
          form.get('client_secret') === client.clientSecret;
  }

  function handleTokenRequest(headers: IncomingMessage['headers'], form: URLSearchParams): FakeResponse {
    tokenRequests.push(form);
    if (!isRegisteredClient(headers, form)) return shape.tokenErrors.client;
    const type = shape.grantTypes.find((each) => each === form.get('grant_type'));
    if (type === 'authorization_code') return redeem(form);
    if (type === 'refresh_token') {
      const issued = refreshTokens.get(form.get('refresh_token') ?? '');
      return issued && !issued.isInvalid ? grant(type, issued.scope) : shape.tokenErrors.refresh_token;
    }
    return type === 'client_credentials' ? grant(type, '') : shape.tokenErrors.grant_type;
  }

  function revoke(headers: IncomingMessage['headers'], form: URLSearchParams): FakeResponse {
    if (!isRegisteredClient(headers, form)) return shape.tokenErrors.client;
    const value = form.get('token') ?? '';
    revoked.push(value);
    for (const each of [accessTokens.get(value), refreshTokens.get(value)]) if (each) each.isInvalid = true;
    return { status: 200, body: { revoked: true } };
  }

  function redeem(form: URLSearchParams): FakeResponse {
    const code = form.get('code') ?? '';
    const params = codes.get(code);
    codes.delete(code);
    const challenge = createHash('sha256')
      .update(form.get('code_verifier') ?? '')
      .digest('base64url');
    const isValid =
      params?.get('code_challenge') === challenge && params.get('redirect_uri') === form.get('redirect_uri');
    if (!params || !isValid) return shape.tokenErrors.code;
    return grant('authorization_code', params.get('scope') ?? '', params.get('nonce') ?? undefined);
  }

  function grant(type: GrantType, scope: string, nonce?: string): FakeResponse {
    const [accessToken, refreshToken] = [randomBytes(24).toString('hex'), randomBytes(24).toString('hex')];
    accessTokens.set(accessToken, { scope, isApp: type === 'client_credentials' });
    refreshTokens.set(refreshToken, { scope });
    const body = shape.tokenResponse({
      ...{ type, accessToken, refreshToken, scope, nonce, url },
      clientId: client.clientId,
    });
    return { status: 200, headers: { 'cache-control': 'no-store' }, body };
  }

  function handleApiRequest(request: Omit<ApiRequest, 'isApp'>): FakeResponse {
    const bearer = /^Bearer (.+)$/.exec(request.headers.authorization ?? '')?.[1];
    const issued = accessTokens.get(bearer ?? '');
    const received = { ...request, isApp: issued?.isApp ?? false };
    apiRequests.push(received);
    if (bearer === undefined) return shape.unauthorized('none');
    if (!issued || issued.isInvalid) return shape.unauthorized(issued ? 'expired' : 'unknown');
    const row = shape.api.find(([path]) => path.test(request.path));
    return row?.[1](received) ?? { status: 404, body: { message: 'Not Found' } };
  }

  async function respond(req: IncomingMessage): Promise<FakeResponse> {
    const { pathname, searchParams } = new URL(req.url ?? '', url);
    if (pathname === shape.authorizePath) return authorize(searchParams);
    if (pathname === shape.tokenPath && req.method === 'POST')
      return alterTokenResponse(handleTokenRequest(req.headers, new URLSearchParams(await text(req))));
    if (pathname === shape.revocationPath && req.method === 'POST')
      return revoke(req.headers, new URLSearchParams(await text(req)));
    const createDocument = shape.publicDocuments?.[pathname];
    if (createDocument) return { status: 200, body: createDocument(url) };
    return handleApiRequest({ path: pathname, query: searchParams, headers: req.headers });
  }

  const server = createServer(async (req, res) => {
    const { status, headers, body } = await respond(req);
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
      for (const each of accessTokens.values()) each.isInvalid = true;
    },
    revokeAllTokens() {
      for (const each of [...accessTokens.values(), ...refreshTokens.values()]) each.isInvalid = true;
    },
    alterTokenResponses(change) {
      alterTokenResponse = change ?? ((response) => response);
    },
    async close() {
      server.closeAllConnections();
      await new Promise((done) => server.close(done));
    },
  };
}
