import { z } from 'zod';

const methodNames = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'] as const;
export type Method = (typeof methodNames)[number];

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
  /** What is forwarded; `GET` answers `HEAD` as well. */
  readonly methods: Readonly<Partial<Record<Method, ScopeRule>>>;
  readonly token: TokenOwner;
  /** Statuses by which this API says that the access token is not good any more. */
  readonly tokenRefusedStatuses: readonly number[];
  /** How long the API may take to begin its answer, all tries together, and be silent within it. */
  readonly timeoutMs: number;
  /** The largest request body that is passed on. */
  readonly bodyLimitBytes: number;
  /** An answer that goes on until someone leaves: it may be silent for `idleMs`, and ends with the session. */
  readonly stream: boolean;
  readonly idleMs: number;
  readonly webSocket: boolean;
  /** Headers the API gets besides those of the caller, in lower case. */
  readonly headers: Readonly<Record<string, string>>;
  /** The query parameters that are passed on; all when absent. */
  readonly query: readonly string[] | undefined;
  /** Requests per session, or per address for those without one. */
  readonly rateLimit: { readonly limit: number; readonly windowSeconds: number } | undefined;
}

/** What a row means that does not say. */
export const routeDefaults = {
  token: 'user',
  tokenRefusedStatuses: [401],
  timeoutMs: 10_000,
  bodyLimitBytes: 10_485_760,
  stream: false,
  idleMs: 300_000,
  webSocket: false,
  headers: {},
  query: undefined,
  rateLimit: undefined,
} as const satisfies Partial<ResourceServer>;

const segment = '(:[A-Za-z_]\\w*|[\\w.~-]+)';
const pathPattern = new RegExp(`^(/${segment})*(/\\*[A-Za-z_]\\w*)?$`);
const scopeToken = z.string().regex(/^[\x21\x23-\x5B\x5D-\x7E]+$/, 'must be one scope, without spaces');
const headerName = /^[A-Za-z0-9!#$%&'*+.^_`|~-]+$/;
const forbiddenHeaderNames =
  /^(host|connection|keep-alive|proxy-.*|te|trailer|transfer-encoding|upgrade|content-length|expect|cookie|sec-websocket-.*)$/i;
/** As long as a timer can be. */
const maxSeconds = 2_147_483;
const seconds = z.number().positive().max(maxSeconds);

const scopeRule = z
  .strictObject({
    allOf: z.array(scopeToken).default([]).describe('Scopes that must all have been granted'),
    anyOf: z.array(scopeToken).default([]).describe('Scopes of which one must have been granted'),
  })
  .describe('What the person must have granted for this method; {} for nothing');

const row = z.strictObject({
  path: z
    .string()
    .refine((path) => path.length > 1 && pathPattern.test(path) && !hasDotSegment(path), {
      error: 'must be a path below /api such as /things, /things/:id or /files/*rest',
    })
    .describe('Path below /api: literal segments, :name, and last *name for one or more segments'),
  target: z
    .string()
    .describe('Where it goes: a path below OAUTH2_API_BASE_URL, or a whole URL; with the parameters of path'),
  methods: z
    .partialRecord(z.enum(methodNames), scopeRule)
    .refine((methods) => Object.keys(methods).length > 0, 'must name at least one method')
    .describe('The methods that are forwarded; GET answers HEAD as well'),
  token: z
    .enum(['user', 'app', 'user-or-app', 'none'])
    .default(routeDefaults.token)
    .describe("Whose access token the API gets: the signed-in person's or the application's own"),
  tokenRefusedStatuses: z
    .array(z.literal([401, 403]))
    .min(1)
    .optional()
    .describe('Statuses by which this API says that a token is not good any more; [401] unless told'),
  timeoutSeconds: seconds
    .default(routeDefaults.timeoutMs / 1000)
    .describe('How long the API may take to begin its answer, all tries together, and be silent within it'),
  bodyLimitBytes: z
    .number()
    .int()
    .min(0)
    .default(routeDefaults.bodyLimitBytes)
    .describe('The largest request body'),
  stream: z
    .boolean()
    .default(false)
    .describe('Answers go on until someone leaves (server-sent events), and end with the session'),
  idleSeconds: seconds.default(routeDefaults.idleMs / 1000).describe('How long such an answer may be silent'),
  webSocket: z.boolean().default(false).describe('GET may be a WebSocket handshake'),
  headers: z
    .record(z.string(), z.string().regex(/^[\t\x20-\x7E]*$/, 'must be printable ASCII'))
    .default({})
    .describe('Headers the API gets besides those of the caller'),
  query: z.array(z.string()).optional().describe('The query parameters that are passed on; all when absent'),
  rateLimit: z
    .strictObject({ limit: z.number().int().min(1), windowSeconds: z.number().int().min(1).max(86_400) })
    .optional()
    .describe('Requests per session, or per address for those without one'),
});

const table = z
  .strictObject({ $schema: z.string().optional(), routes: z.array(row).min(1) })
  .describe("Latchkey's API_ROUTES_FILE: what answers below /api");

/** The table's JSON form, for editors and other tools (JSON Schema 2020-12). */
export function routeTableSchema(): unknown {
  return z.toJSONSchema(table, { io: 'input' });
}

/** The table that stands when no other is given: the API this app grew up with. */
export const defaultRouteTable = {
  routes: [
    { path: '/profile', target: '/api/user/profile', methods: { GET: {} } },
    {
      path: '/data',
      target: '/api/user/data',
      methods: { GET: { allOf: ['read:data'] }, POST: { allOf: ['write:data'] } },
    },
  ],
};

export interface RouteTableOptions {
  /** What relative targets are below. */
  readonly base: URL | undefined;
  readonly allowHttp: (target: URL) => boolean;
  readonly tokenRefusedStatuses: readonly number[];
}

/** The rows of a table in its JSON form, or every fault in it, each with its place (`routes[1].target must ...`). */
export function readRouteTable(
  json: unknown,
  options: RouteTableOptions,
): { readonly routes: readonly ResourceServer[]; readonly faults: readonly string[] } {
  const parsed = table.safeParse(json);
  if (!parsed.success)
    return {
      routes: [],
      faults: parsed.error.issues.map(
        ({ path, message }) => `${z.core.toDotPath(path) || 'the file'} ${normalizeMessage(message)}`,
      ),
    };
  const faults: string[] = [];
  const indexByRoute = new Map<string, number>();
  const routes = parsed.data.routes.map((each, index) => {
    const at = `routes[${index}]`;
    const fault = (member: string, problem: string) => faults.push(`${at}.${member} ${problem}`);
    for (const method of Object.keys(each.methods)) {
      const key = `${method} ${each.path.replace(/:\w+/g, ':').replace(/\*\w+/, '*')}`;
      const other = indexByRoute.get(key);
      if (other !== undefined) fault('path', `is ${method} of routes[${other}] once more`);
      indexByRoute.set(key, index);
    }
    if (each.token === 'app' && Object.values(each.methods).some(({ anyOf }) => anyOf.length > 0))
      fault('methods', 'cannot have anyOf beside "token": "app", which asks for scopes by name');
    if (each.webSocket && !each.methods.GET) fault('webSocket', 'needs the method GET');
    for (const name of Object.keys(each.headers)) {
      if (!headerName.test(name) || forbiddenHeaderNames.test(name))
        fault('headers', `cannot set ${JSON.stringify(name)}`);
      if (/^authorization$/i.test(name) && each.token !== 'none')
        fault('headers', 'cannot set Authorization unless "token" is "none": it is where the token goes');
    }
    const target = readTarget(each.target, options.base);
    if (typeof target === 'string') fault('target', target);
    else {
      const isOwn = !each.target.startsWith('/'); // else the base has answered for itself
      if (isOwn && target.protocol === 'http:' && !options.allowHttp(target))
        fault('target', 'must be https, as its host is not this machine (OAUTH2_ALLOW_HTTP=true lifts this)');
      const known = parametersOf(each.path);
      for (const name of parametersOf(target.pathname))
        if (!known.includes(name)) fault('target', `uses ${name}, which path does not have`);
    }
    const { target: _, timeoutSeconds, idleSeconds, headers, tokenRefusedStatuses, ...rest } = each;
    return {
      ...rest,
      origin: typeof target === 'string' ? '' : target.origin,
      targetPath: typeof target === 'string' ? '' : target.pathname,
      tokenRefusedStatuses: tokenRefusedStatuses ?? options.tokenRefusedStatuses,
      timeoutMs: timeoutSeconds * 1000,
      idleMs: idleSeconds * 1000,
      headers: Object.fromEntries(
        Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]),
      ),
      query: each.query,
      rateLimit: each.rateLimit,
    };
  });
  return { routes, faults };
}

/** The parameters of a pattern as they are written: `:id`, `*rest`. */
function parametersOf(pattern: string): readonly string[] {
  return pattern.split('/').filter((each) => each.startsWith(':') || each.startsWith('*'));
}

function hasDotSegment(path: string): boolean {
  return path.split('/').some((each) => each === '.' || each === '..');
}

/** The address, or the problem with it. */
function readTarget(target: string, base: URL | undefined): URL | string {
  if (target.startsWith('/')) {
    if (!base) return 'is a path, and OAUTH2_API_BASE_URL, which it would be below, is not set';
    if (target.includes('?') || target.includes('#')) return 'must not hold a query or #';
    return new URL(base.href.replace(/\/$/, '') + target);
  }
  if (!/^https?:\/\//.test(target) || !URL.canParse(target))
    return 'must be a path, or a URL beginning with https:// or http://';
  const url = new URL(target);
  if (url.username || url.password || url.search || url.hash)
    return 'must not hold a user, password, query or #';
  return /[:*]/.test(url.hostname.replace(/^\[.*\]$/, '')) ? 'must not have a parameter in its host' : url;
}

function normalizeMessage(message: string): string {
  return message.startsWith('must') ? message : `is not right: ${message}`;
}
