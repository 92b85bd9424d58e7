import type { IncomingMessage, RequestListener, Server, ServerResponse } from 'node:http';
import type { Server as HttpsServer } from 'node:https';

export interface TestProviderOptions {
  /** Where the provider sends browsers back to; its path ends with `/auth/callback`. By default `http://localhost:3000/auth/callback`. */
  readonly redirectUri?: string;
  /** How long access tokens are valid; by default one hour. */
  readonly accessTokenSeconds?: number;
}

/** Who signs in. Every member is optional. */
export interface TestUser {
  /** By default `test-user`. */
  readonly sub?: string;
  /** The granted scopes, separated by spaces; by default all that are requested. */
  readonly scope?: string;
  /** Further claims of the ID token, such as `name` and `email`. */
  readonly claims?: Readonly<Record<string, unknown>>;
}

/** An OpenID provider on a free port of this machine, for tests. It grants every login without asking. */
export interface TestProvider {
  readonly issuer: string;
  /** The settings with which Latchkey uses this provider; add OAUTH2_API_BASE_URL, or other settings. */
  readonly settings: {
    readonly OAUTH2_ISSUER: string;
    readonly OAUTH2_CLIENT_ID: string;
    readonly OAUTH2_CLIENT_SECRET: string;
    readonly OAUTH2_REDIRECT_URI: string;
    readonly OAUTH2_SCOPES: string;
    readonly SESSION_SECRET: string;
    readonly NODE_ENV: string;
  };
  /** Who a browser that is sent to the provider signs in as from now on. */
  setUser(user: TestUser): void;
  /** Whose an access token is; `undefined` if it is unknown, expired or revoked. For the API of your tests. */
  findToken(accessToken: string): { readonly sub: string; readonly scope: string } | undefined;
  /** All access tokens issued so far are no longer valid; their sessions can be refreshed. */
  expireAccessTokens(): void;
  /** No refresh token issued so far can be used any more: the next refresh ends its session. */
  revokeRefreshTokens(): void;
  /** The number of successful requests of each kind so far. */
  readonly counts: { readonly logins: number; readonly refreshes: number; readonly revocations: number };
}

/** An Express app, a server, which need not listen, or the origin at which one listens. */
export type TestTarget =
  | RequestListener
  | Server
  | HttpsServer
  | string
  | ((req: IncomingMessage, res: ServerResponse) => void);

export interface TestProviderHandle {
  readonly provider: TestProvider;
  /**
   * Signs a user in to `app` through its real login, and returns the header `Cookie` of the session.
   * @throws Error if the login fails, with what the app responded
   */
  signIn(app: TestTarget, user?: TestUser): Promise<string>;
  /** Stops the provider. */
  close(): Promise<void>;
}

/** Starts an OpenID provider for tests: discovery, authorization code with PKCE, refresh with rotation, revocation, keys. */
export declare function startTestProvider(options?: TestProviderOptions): Promise<TestProviderHandle>;
