import type { ResourceServer } from '../config/route-table.ts';

/** One method of a route, as the API console offers it. */
export interface ConsoleRow {
  /** Value of the form field `row`, such as `POST /things/:id`. */
  readonly name: string;
  readonly method: string;
  /** The pattern below `/api`. */
  readonly path: string;
  readonly parameters: readonly { readonly name: string; readonly isRest: boolean }[];
  readonly takesBody: boolean;
}

const bodilessMethods = new Set(['GET', 'OPTIONS']);

/** Everything the console can call: no streams and WebSockets, which do not end, and no `HEAD`, which has no body to show. */
export function listConsoleRows(routes: readonly ResourceServer[]): readonly ConsoleRow[] {
  return routes
    .filter(({ stream, webSocket }) => !stream && !webSocket)
    .flatMap(({ path, methods }) =>
      Object.keys(methods)
        .filter((method) => method !== 'HEAD')
        .map((method) => ({
          name: `${method} ${path}`,
          method,
          path,
          parameters: parsePathParameters(path),
          takesBody: !bodilessMethods.has(method),
        })),
    );
}

function parsePathParameters(path: string): ConsoleRow['parameters'] {
  return path
    .split('/')
    .filter((each) => /^[:*]/.test(each))
    .map((each) => ({ name: each.slice(1), isRest: each.startsWith('*') }));
}

/** The form of the console cannot be sent: the path parameter `parameter` is invalid, or the body is not JSON. */
export class InvalidInputError extends Error {
  constructor(
    readonly problem: 'parameter' | 'json',
    readonly parameter = '',
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
        throw new InvalidInputError('parameter', name);
      return values.map(encodeURIComponent).join('/');
    })
    .join('/');
}

export const emptyBody = { contentType: '', body: Buffer.alloc(0) };

/**
 * The body in the console's form: `name=value` lines if its field `type` is `form`, else JSON.
 * @throws InvalidInputError the body is not JSON
 */
export function readBody(field: (name: string) => string): typeof emptyBody {
  const text = field('body');
  if (text === '') return emptyBody;
  if (field('type') === 'form') {
    const body = new URLSearchParams(text.replace(/\r?\n/g, '&')).toString();
    return { contentType: 'application/x-www-form-urlencoded', body: Buffer.from(body) };
  }
  try {
    JSON.parse(text);
  } catch {
    throw new InvalidInputError('json');
  }
  return { contentType: 'application/json', body: Buffer.from(text) };
}
