import type { ResourceServer } from '../config/route-table.ts';

/** One method of one row of the API table, as the API console offers it. */
export interface ConsoleRow {
  /** `POST /things/:id`: its name in forms. */
  readonly name: string;
  readonly method: string;
  /** The pattern below `/api`. */
  readonly path: string;
  readonly parameters: readonly { readonly name: string; readonly isRest: boolean }[];
  readonly takesBody: boolean;
}

const bodilessMethods = new Set(['GET', 'OPTIONS']);

/** What the console can call: not what goes on until someone leaves (streams, WebSockets), and `HEAD` shows emptyBody. */
export function consoleRows(routes: readonly ResourceServer[]): readonly ConsoleRow[] {
  return routes
    .filter(({ stream, webSocket }) => !stream && !webSocket)
    .flatMap(({ path, methods }) =>
      Object.keys(methods)
        .filter((method) => method !== 'HEAD')
        .map((method) => ({
          name: `${method} ${path}`,
          method,
          path,
          parameters: parametersOf(path),
          takesBody: !bodilessMethods.has(method),
        })),
    );
}

function parametersOf(path: string): ConsoleRow['parameters'] {
  return path
    .split('/')
    .filter((each) => /^[:*]/.test(each))
    .map((each) => ({ name: each.slice(1), isRest: each.startsWith('*') }));
}

/** What was input cannot be sent as it is; `parameter` is the parameter it is about. */
export class InvalidInputError extends Error {
  constructor(
    readonly problem: 'parameter' | 'json',
    readonly parameter = '',
  ) {
    super(problem);
  }
}

/** The path with its parameters in it. Whatever they hold, it is one of the row's: browsers would resolve dots. */
export function fillPath(path: string, field: (name: string) => string): string {
  return path
    .split('/')
    .map((piece) => {
      if (!/^[:*]/.test(piece)) return piece;
      const name = piece.slice(1);
      const value = field(`path.${name}`);
      const segments = piece.startsWith('*') ? value.split('/') : [value];
      if (value === '' || segments.some((each) => /^\.{1,2}$/.test(each)))
        throw new InvalidInputError('parameter', name);
      return segments.map(encodeURIComponent).join('/');
    })
    .join('/');
}

export const emptyBody = { contentType: '', body: Buffer.alloc(0) };

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
