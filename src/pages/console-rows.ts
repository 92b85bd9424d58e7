import type { RequestExample } from '../config/reading/request-example.ts';
import type { ResourceServer, TokenOwner } from '../config/route-table.ts';

/** The fields of a form of the console, by name. */
export type ConsoleInput = Readonly<Record<string, unknown>>;

/** One method of a route, as the API console offers it. */
export interface ConsoleRow {
  /** Value of the form field `row`, such as `POST /things/:id`. */
  readonly name: string;
  readonly method: string;
  /** The pattern below `/api`. */
  readonly path: string;
  readonly parameters: readonly { readonly name: string; readonly isRest: boolean }[];
  readonly takesBody: boolean;
  /** Whose token is sent; unknown for a route in code. */
  readonly token: TokenOwner | undefined;
  /** The example request. */
  readonly input: ConsoleInput;
}

type Route = Pick<ResourceServer, 'path' | 'methods' | 'stream' | 'webSocket'> & {
  readonly token?: TokenOwner;
};

const bodilessMethods = new Set(['GET', 'OPTIONS']);

/**
 * Everything the console can call: no streams and WebSockets, which do not end, and no `HEAD`, which has no body to show. A route
 * for all paths, as `latchkey dev --api` has it, is more than its streams.
 */
export function listConsoleRows(routes: readonly Route[]): readonly ConsoleRow[] {
  return routes
    .filter(({ path, stream, webSocket }) => /^\/\*/.test(path) || (!stream && !webSocket))
    .flatMap(({ path, methods, token }) =>
      Object.entries(methods)
        .filter(([method]) => method !== 'HEAD')
        .map(([method, { example }]) => ({
          name: `${method} ${path}`,
          method,
          path,
          parameters: parsePathParameters(path),
          takesBody: !bodilessMethods.has(method),
          token,
          input: toInput(example),
        })),
    );
}

function parsePathParameters(path: string): ConsoleRow['parameters'] {
  return path
    .split('/')
    .filter((each) => /^[:*]/.test(each))
    .map((each) => ({ name: each.slice(1), isRest: each.startsWith('*') }));
}

/** The fields of the form that sends the example. */
function toInput({ parameters = {}, query, headers, body, form, file }: RequestExample = {}): ConsoleInput {
  const toLines = (entries: Readonly<Record<string, string>>, separator: string) =>
    Object.entries(entries)
      .map(([name, value]) => `${name}${separator}${value}`)
      .join('\n');
  return {
    ...Object.fromEntries(Object.entries(parameters).map(([name, value]) => [`path.${name}`, value])),
    ...(query !== undefined && { query }),
    ...(headers && { headers: toLines(headers, ': ') }),
    ...(body !== undefined && { type: 'json', body: JSON.stringify(body, undefined, 2) }),
    ...(form && { type: 'form', body: toLines(form, '=') }),
    ...(file === true && { type: 'file' }),
    ...(typeof file === 'string' && { type: 'multipart', field: file }),
  };
}

/** The form of the console cannot be sent, because of the field `field`; `problem` is a text under `console`. */
export class InvalidInputError extends Error {
  constructor(
    readonly problem: 'parameter' | 'json' | 'form_line',
    readonly field: string,
    /** Values for the text. */
    readonly values: Readonly<Record<string, string | number>> = {},
  ) {
    super(problem);
  }
}

/**
 * `path` with the values of its parameters, percent-encoded.
 * @throws InvalidInputError a value is empty or has a segment `.` or `..`, which browsers would resolve to another path
 */
export function fillPath(path: string, field: (name: string) => string): string {
  return path
    .split('/')
    .map((segment) => {
      if (!/^[:*]/.test(segment)) return segment;
      const name = segment.slice(1);
      const value = field(`path.${name}`);
      const values = segment.startsWith('*') ? value.split('/') : [value];
      if (value === '' || values.some((each) => /^\.{1,2}$/.test(each)))
        throw new InvalidInputError('parameter', `path.${name}`, { name });
      return values.map(encodeURIComponent).join('/');
    })
    .join('/');
}

export const emptyBody = { contentType: '', body: Buffer.alloc(0) };

/**
 * The body in the console's form: `name=value` lines if its field `type` is `form`, else JSON.
 * @throws InvalidInputError the body is not JSON, or not such lines
 */
export function readBody(field: (name: string) => string): typeof emptyBody {
  const text = field('body');
  if (text === '') return emptyBody;
  if (field('type') === 'form') {
    const lines = text.split(/\r?\n/).filter((each) => each.trim() !== '');
    const wrong = lines.findIndex((each) => !/^[^={[][^=]*=/.test(each));
    if (wrong >= 0) throw new InvalidInputError('form_line', 'body', { line: wrong + 1 });
    const body = new URLSearchParams(lines.join('&')).toString();
    return { contentType: 'application/x-www-form-urlencoded', body: Buffer.from(body) };
  }
  try {
    JSON.parse(text);
  } catch {
    throw new InvalidInputError('json', 'body');
  }
  return { contentType: 'application/json', body: Buffer.from(text) };
}
