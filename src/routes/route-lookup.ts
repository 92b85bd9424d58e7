import { match } from 'path-to-regexp';

/** The parameters of a path, percent-decoded; a wildcard is a list of segments. */
export type PathParams = Record<string, string | string[]>;

interface Row<T> {
  readonly index: number;
  readonly value: T;
  readonly read: (path: string) => PathParams | undefined;
}

interface Node<T> {
  readonly children: Map<string, Node<T>>;
  readonly rows: Row<T>[];
}

/** A row of the table whose pattern matches. */
export interface FoundRoute<T> {
  readonly value: T;
  readonly params: PathParams;
}

/**
 * `find(path)`: the rows whose pattern (`/things/:id/*rest`) matches, in their order. Rows are found by the literal segments
 * at the beginning of their pattern, so that the time does not depend on how many rows there are.
 * @throws Error with the status 400: a parameter cannot be decoded
 */
export function createRouteLookup<T>(table: readonly { readonly path: string; readonly value: T }[]) {
  const root: Node<T> = { children: new Map(), rows: [] };
  for (const [index, { path, value }] of table.entries()) {
    const segments = path.slice(1).split('/');
    const firstParameter = segments.findIndex((segment) => /^[:*]/.test(segment));
    const literal = firstParameter < 0 ? segments : segments.slice(0, firstParameter);
    const read = firstParameter < 0 ? readLiteral(path) : readPattern(path);
    nodeOf(root, literal).rows.push({ index, value, read });
  }

  return function find(path: string): readonly FoundRoute<T>[] {
    return candidatesFor(root, path).flatMap(({ value, read }) => {
      const params = read(path);
      return params ? [{ value, params }] : [];
    });
  };
}

function nodeOf<T>(root: Node<T>, segments: readonly string[]): Node<T> {
  let node = root;
  for (const segment of segments) {
    const child = node.children.get(segment) ?? { children: new Map(), rows: [] };
    node.children.set(segment, child);
    node = child;
  }
  return node;
}

/** The rows whose literal beginning the path has, in the order of the table. */
function candidatesFor<T>(root: Node<T>, path: string): readonly Row<T>[] {
  let found: readonly Row<T>[] = root.rows;
  let node: Node<T> | undefined = root;
  for (let start = 1; node; ) {
    const end = path.indexOf('/', start);
    node = node.children.get(end < 0 ? path.slice(start) : path.slice(start, end));
    if (node && node.rows.length > 0)
      found = found.length === 0 ? node.rows : [...found, ...node.rows].sort((a, b) => a.index - b.index);
    if (end < 0) break;
    start = end + 1;
  }
  return found;
}

const noParams: PathParams = Object.freeze({});

function readLiteral(pattern: string): Row<unknown>['read'] {
  return (path) => (path === pattern ? noParams : undefined);
}

function readPattern(pattern: string): Row<unknown>['read'] {
  const read = match<PathParams>(pattern, { sensitive: true, trailing: false, decode: decodeParameter });
  return (path) => {
    const found = read(path);
    return found ? found.params : undefined;
  };
}

function decodeParameter(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch (cause) {
    throw Object.assign(new Error('a path parameter cannot be decoded', { cause }), { status: 400 });
  }
}
