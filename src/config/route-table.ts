import { z } from 'zod';
import { claimName } from '../claims/conditions.ts';
import { findPrototypeNames, findSpoofableIdentities } from './reading/claim-checks.ts';
import type { JsonPath } from './reading/json-text.ts';
import { type Method, type MethodRule, methodRules, namesOfMethods } from './reading/method-rule.ts';
import { findDuplicates, findRowProblems } from './reading/route-checks.ts';
import { describeIssues, formatProblem } from './reading/route-problems.ts';
import { parseTarget } from './reading/route-target.ts';

export type { Method, MethodRule };

/** Whose access token a route sends to its API. */
export type TokenOwner = 'user' | 'app' | 'user-or-app' | 'none';

/** One row of the route table: where the requests of a route are sent, and with whose token. */
export interface ResourceServer {
  /** Express pattern under `/api`: literal segments, `:name`, and as the last segment `*name` for one or more. */
  readonly path: string;
  /** The API's origin, such as `https://api.example.com`. */
  readonly origin: string;
  /** The path at the API, which may use the parameters of `path`, each with a suffix (`:id.json`). */
  readonly targetPath: string;
  /** The query of the target, without `?`; that of the caller is appended, without the parameters that are in here. */
  readonly targetQuery: string | undefined;
  /** The methods that are forwarded; `GET` includes `HEAD`. */
  readonly methods: Readonly<Partial<Record<Method, MethodRule>>>;
  readonly token: TokenOwner;
  /** Statuses with which this API rejects an expired or revoked token. */
  readonly tokenRefusedStatuses: readonly number[];
  /** Time until the response begins, including retries; also the longest gap within it or within an upload. */
  readonly timeoutMs: number;
  /** Maximum size of the request body. */
  readonly bodyLimitBytes: number;
  /** The response is long-lived, such as server-sent events; it is closed when the session ends. */
  readonly stream: boolean;
  /** The longest gap within such a response. */
  readonly idleMs: number;
  /** `GET` may be a WebSocket handshake. */
  readonly webSocket: boolean;
  /** Further headers of the caller to forward; names in lower case. */
  readonly requestHeaders: readonly string[];
  /** Send the caller's address in `X-Forwarded-For`. */
  readonly forwardedFor: boolean;
  /** Headers to send to the API in addition to those of the caller; names in lower case. */
  readonly headers: Readonly<Record<string, string>>;
  /** Headers with claims about the user; names in lower case. */
  readonly identityHeaders: Readonly<Record<string, string>>;
  /** The query parameters to forward; all when absent. */
  readonly query: readonly string[] | undefined;
  /** A form that is submitted to this route after the session has expired is saved. */
  readonly saveForms: boolean;
  /** Maximum requests per session, or per address without a session. */
  readonly rateLimit: { readonly limit: number; readonly windowSeconds: number } | undefined;
}

/** The defaults of fields that a row omits. */
export const routeDefaults = {
  targetQuery: undefined,
  token: 'user',
  tokenRefusedStatuses: [401],
  timeoutMs: 10_000,
  bodyLimitBytes: 10_485_760,
  stream: false,
  idleMs: 300_000,
  webSocket: false,
  requestHeaders: [],
  forwardedFor: false,
  headers: {},
  identityHeaders: {},
  query: undefined,
  saveForms: true,
  rateLimit: undefined,
} as const satisfies Partial<ResourceServer>;

const segment = '(:[A-Za-z_]\\w*|[\\w.~-]+)';
const pathPattern = new RegExp(`^(/${segment})*(/\\*[A-Za-z_]\\w*)?$`);
const dotSegment = /\/\.{1,2}(\/|$)/;
/** The longest delay of a Node.js timer, 2^31 - 1 ms. */
const maxSeconds = 2_147_483;
const seconds = z.number().positive().max(maxSeconds);

const rateLimit = z.strictObject({
  limit: z.number().int().min(1),
  windowSeconds: z.number().int().min(1).max(86_400),
});

const row = z.strictObject({
  path: z
    .string()
    .refine((path) => path.length > 1 && pathPattern.test(path) && !dotSegment.test(path), {
      error: 'must be a path under /api, such as /things, /things/:id or /files/*rest',
    })
    .describe('Path under /api: literal segments, :name, and as the last segment *name for one or more'),
  target: z
    .string()
    .describe(
      'Path relative to OAUTH2_API_BASE_URL, or an absolute URL; may use the parameters of path, also with a suffix (:id.json), and may have a query',
    ),
  methods: methodRules,
  token: z
    .enum(['user', 'app', 'user-or-app', 'none'])
    .default(routeDefaults.token)
    .describe(
      "Which access token the API receives: the user's (user), the app token (app), the user's if the user is signed in and otherwise the app token (user-or-app), or none",
    ),
  tokenRefusedStatuses: z
    .array(z.literal([401, 403]))
    .min(1)
    .optional()
    .describe(
      'Statuses with which this API rejects an expired or revoked token; by default [401], with the deviation expired-is-403 [401, 403]',
    ),
  timeoutSeconds: seconds
    .default(routeDefaults.timeoutMs / 1000)
    .describe(
      'Maximum time until the response begins, including retries; also the maximum time without data within the response (with stream: idleSeconds) and within an upload',
    ),
  bodyLimitBytes: z
    .number()
    .int()
    .min(0)
    .default(routeDefaults.bodyLimitBytes)
    .describe('Maximum size of the request body; larger bodies get 413'),
  stream: z
    .boolean()
    .default(false)
    .describe('The response is long-lived, such as server-sent events; it is closed when the session ends'),
  idleSeconds: seconds
    .default(routeDefaults.idleMs / 1000)
    .describe('With stream: maximum time without data within the response'),
  webSocket: z
    .boolean()
    .default(false)
    .describe('GET may be a WebSocket handshake; the WebSocket is closed when the session ends'),
  requestHeaders: z
    .array(z.string())
    .default([])
    .describe('Headers of the caller to forward besides those that every API receives'),
  forwardedFor: z.boolean().default(false).describe("Send the caller's address in X-Forwarded-For"),
  headers: z
    .record(z.string(), z.string().regex(/^[\t\x20-\x7E]*$/, 'must be printable ASCII'))
    .default({})
    .describe('Headers with fixed values that are added to the request'),
  identityHeaders: z
    .record(z.string(), claimName)
    .default({})
    .describe('Headers that tell the API who the user is, each with the name of a claim'),
  query: z.array(z.string()).optional().describe('The query parameters to forward; by default all'),
  saveForms: z
    .boolean()
    .default(true)
    .describe('Save forms that are submitted after the session has expired'),
  rateLimit: rateLimit
    .optional()
    .describe('Maximum requests per user, or per address without a live session; further ones get 429'),
});

type Row = Partial<z.output<typeof row>>;
/** A row as it is written. */
export type RouteTableRow = z.input<typeof row>;

const table = z
  .strictObject({ $schema: z.string().optional(), routes: z.array(row).min(1) })
  .describe('Latchkey API_ROUTES_FILE: the routes that are forwarded under /api');

/** The JSON Schema (2020-12) of a route table, for editors and other tools. */
export function routeTableSchema(): unknown {
  return z.toJSONSchema(table, { io: 'input' });
}

export interface RouteTableOptions {
  /** The URL to which relative targets are appended. */
  readonly base: URL | undefined;
  readonly allowHttp: (target: URL) => boolean;
  /** The default for rows that do not set it. */
  readonly tokenRefusedStatuses: readonly number[];
  /** The line of a value in the file. */
  readonly lineOf?: ((path: JsonPath) => number) | undefined;
}

/** The rows of a route table as parsed JSON, and every problem, with its location (`routes[1].target must ...`). */
export function readRouteTable(
  json: unknown,
  options: RouteTableOptions,
): { readonly routes: readonly ResourceServer[]; readonly problems: readonly string[] } {
  const parsed = table.safeParse(json);
  const rows = parsed.success ? parsed.data.routes : readValidMembers(json);
  const problems = [
    ...(parsed.success ? [] : describeIssues(parsed.error.issues, namesAt)),
    ...findDuplicates(rows),
    ...findPrototypeNames(json),
    ...findSpoofableIdentities(rows),
    ...rows.flatMap((each, index) => findRowProblems(each, index, options)),
  ].sort((one, other) => Number(one.path[1] ?? -1) - Number(other.path[1] ?? -1));
  if (!parsed.success || problems.length > 0)
    return {
      routes: [],
      problems: problems.map((each) => formatProblem(each, options.lineOf?.(each.path))),
    };
  const routes = parsed.data.routes.map((each) => {
    const { target: _, timeoutSeconds, idleSeconds, tokenRefusedStatuses, ...rest } = each;
    const { target } = parseTarget(each.target, { ...options, path: each.path });
    return {
      ...rest,
      origin: target.origin,
      targetPath: target.path,
      targetQuery: target.query || undefined,
      tokenRefusedStatuses: tokenRefusedStatuses ?? options.tokenRefusedStatuses,
      timeoutMs: timeoutSeconds * 1000,
      idleMs: idleSeconds * 1000,
      requestHeaders: each.requestHeaders.map((name) => name.toLowerCase()),
      headers: withLowerCaseNames(each.headers),
      identityHeaders: withLowerCaseNames(each.identityHeaders),
      query: each.query,
      rateLimit: each.rateLimit,
    };
  });
  return { routes, problems: [] };
}

function withLowerCaseNames(headers: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]));
}

/** The members of each row that are valid on their own, so that what they say together is checked in the same pass. */
function readValidMembers(json: unknown): readonly Row[] {
  const { data } = z.object({ routes: z.array(z.record(z.string(), z.unknown()).catch({})) }).safeParse(json);
  return (data?.routes ?? []).map((members) => {
    const valid: Record<string, unknown> = {};
    for (const [name, type] of Object.entries(row.shape)) {
      const result = type.safeParse(members[name]);
      if (result.success) valid[name] = result.data;
    }
    return valid;
  });
}

/** The names of members that are known at a path of the table. */
function namesAt(path: JsonPath): readonly string[] {
  const member = path[2];
  if (path.length === 0) return Object.keys(table.shape);
  if (path.length === 2) return Object.keys(row.shape);
  if (member === 'methods') return namesOfMethods(path);
  return member === 'rateLimit' ? Object.keys(rateLimit.shape) : [];
}
