import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { Settings } from './settings.ts';

/** Middleware for Express 4 and 5, and for every other server with `(req, res, next)`. */
export type Handler = (req: IncomingMessage, res: ServerResponse, next: (error?: unknown) => void) => void;

/** Error middleware, which Express recognises by its four parameters. */
export type ErrorHandler = (
  error: unknown,
  req: IncomingMessage,
  res: ServerResponse,
  next: (error?: unknown) => void,
) => void;

/** What `logger` needs; a logger of pino is one. */
export interface LogTarget {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
  debug(fields: object, message: string): void;
}

/** A client or a cluster of ioredis 5.4 or later. */
export interface RedisClient {
  readonly isCluster: boolean;
  readonly options: object;
  duplicate(...options: never[]): object;
}

export interface LatchkeyOptions {
  /** By default, those of the environment. With settings here, the environment is not read. */
  readonly settings?: Settings | undefined;
  /** Gets each line of the log. By default, lines are written to standard output as LOG_LEVEL and LOG_FORMAT say. */
  readonly logger?: LogTarget;
  /**
   * Your own client, instead of REDIS_URL. Latchkey opens connections of its own to the same Redis, with the address,
   * credentials, TLS options and database of this client; it sends nothing through the client itself, and never closes it.
   */
  readonly redis?: RedisClient | undefined;
  /** The origins besides those of the route table and OAUTH2_API_BASE_URL to which `fetch` may send a user's token. */
  readonly fetchOrigins?: readonly string[];
}

/** Who is signed in. */
export interface SignedInUser {
  /** The user's id at the provider; absent if the provider says nothing about users. */
  readonly sub: string | undefined;
  /** What the provider says about the user, such as `name` and `email`. */
  readonly claims: Readonly<Record<string, unknown>>;
  /** The scopes that the user has granted. */
  readonly scopes: readonly string[];
}

/** What a claim must be, as in the route table (docs/api-routes.md); all members must hold. */
export interface ClaimCondition {
  readonly equals?: string | number | boolean;
  readonly anyOf?: readonly (string | number | boolean)[];
  readonly allOf?: readonly (string | number | boolean)[];
  readonly endsWith?: string | readonly string[];
  readonly exists?: true;
}

/** How `forwardTo` sends a request; members as in the route table (docs/api-routes.md). */
export interface ForwardToOptions {
  /** A path relative to OAUTH2_API_BASE_URL, or an absolute URL; it may use the parameters of the route (`:id`). */
  readonly target: string;
  /**
   * The path of this route in your app, such as `/jobs/:id`. If an API names its target in the `Location` of another route's
   * response, the browser gets this path. The addresses of a route's own target are mapped without it.
   */
  readonly path?: string;
  readonly timeoutSeconds?: number;
  readonly bodyLimitBytes?: number;
  readonly stream?: boolean;
  readonly idleSeconds?: number;
  readonly requestHeaders?: readonly string[];
  readonly headers?: Readonly<Record<string, string>>;
  readonly identityHeaders?: Readonly<Record<string, string>>;
  readonly query?: readonly string[];
}

/** Latchkey in your Express app. */
export interface Latchkey {
  /** Login, session, `/api` and the pages of Latchkey. Calls `next()` for every other path. Mount it before body parsers. */
  readonly router: Handler;
  /** For pages: sends visitors who are not signed in to the sign-in and back; scripts get 401. */
  readonly requireLogin: Handler;
  /** For endpoints: 401 `login_required` unless a user is signed in. Loads the user's token, refreshed if necessary. */
  readonly requireToken: Handler;
  /** After `requireToken`: 403 `insufficient_scope` unless the user granted all of these. */
  requireScope(...scopes: readonly string[]): Handler;
  /** After `requireToken`: 403 `insufficient_claims` unless this claim about the user meets the condition. */
  requireClaim(name: string, condition: ClaimCondition): Handler;
  /** After `requireToken`: forwards the request to an API with the user's token. Mount it before body parsers. */
  forwardTo(target: string | ForwardToOptions): Handler;
  /** Responds to errors that `user` and `fetch` threw, and passes on every other error. Mount it after your routes. */
  readonly handleErrors: ErrorHandler;
  /**
   * Who is signed in; `undefined` if nobody is.
   * @throws LatchkeyError `temporarily_unavailable` (503): the store cannot tell
   */
  user(req: IncomingMessage): Promise<SignedInUser | undefined>;
  /**
   * As the global `fetch`, with the user's access token. A relative URL is relative to OAUTH2_API_BASE_URL. After a 401, the
   * token is refreshed, and the request sent again if its body can be. A redirect to an origin that may not have the token
   * is not followed.
   * @throws LatchkeyError `login_required` (401), `temporarily_unavailable` (503), `cross_site_request` (403): another site
   * made the browser send `req`, whose method is unsafe
   * @throws TypeError the origin of the URL may not get the token
   */
  fetch(
    req: IncomingMessage,
    url: string | URL,
    init?: Parameters<typeof globalThis.fetch>[1],
  ): ReturnType<typeof globalThis.fetch>;
  /** WebSockets of the route table: handles the handshakes for its paths, and leaves all others to your app. */
  attach(server: Server): void;
  /** The metrics of Latchkey in the Prometheus text format, for a `/metrics` of your app: docs/metrics.md. */
  metrics(): Promise<string>;
  /** Settles when the provider's metadata and the store are available. Rejects if they are not, and can be called again. */
  ready(): Promise<void>;
  /** Ends open streams, waits for the background work and closes all connections, so that the process can exit. */
  close(): Promise<void>;
}

/** An error with a status, for which Express sends that status if nothing else handles it. */
export interface LatchkeyError extends Error {
  /** `login_required`, `temporarily_unavailable` and the other codes of docs/http-api.md. */
  readonly code: string;
  readonly status: number;
}

/**
 * Latchkey for an Express app (docs/express.md). Sends nothing before the first request or `ready()`.
 * @throws Error with every problem of the options and settings
 */
export declare function createLatchkey(options?: LatchkeyOptions): Latchkey;
