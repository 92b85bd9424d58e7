/** Whose access token a route sends to its API. */
export type TokenOwner = 'user' | 'app' | 'user-or-app' | 'none';

/** What a person must have granted for one method of a route (RFC 6749 3.3). */
export interface ScopeRule {
  readonly allOf: readonly string[];
  readonly anyOf: readonly string[];
}

/** One row of the API table: where requests of a route go, and on whose behalf. */
export interface ResourceServer {
  /** Express pattern below `/api`: literal segments, `:name` and, last, `*name` for one or more segments. */
  readonly path: string;
  /** Origin of the API, such as `https://api.example.com`. */
  readonly origin: string;
  /** The path at the API, with the parameters of `path`; only the caller's query is added to it. */
  readonly targetPath: string;
  /** Upper-case methods that are forwarded; `GET` answers `HEAD` as well. */
  readonly methods: Readonly<Record<string, ScopeRule>>;
  readonly token: TokenOwner;
  /** Statuses by which this API says that the access token is not good any more. */
  readonly tokenRefusedStatuses: readonly number[];
  /** How long the API may take to begin its answer (all tries together), and be silent within it. */
  readonly timeoutMs: number;
  /** The largest request body that is passed on. */
  readonly bodyLimitBytes: number;
  /** True for answers that go on until someone leaves: `idleMs` counts within them, and they end with the session. */
  readonly stream: boolean;
  readonly idleMs: number;
  readonly webSocket: boolean;
  /** Headers the API gets besides those of the caller. */
  readonly headers: Readonly<Record<string, string>>;
  /** The query parameters that are passed on; all when absent. */
  readonly query?: readonly string[] | undefined;
  /** Requests per session (per address, for those without one). */
  readonly rateLimit?: { readonly limit: number; readonly windowSeconds: number } | undefined;
}
