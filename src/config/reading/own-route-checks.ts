/** What decides which requests a route gets. */
interface Route {
  readonly path: string;
  readonly methods: Readonly<Record<string, unknown>>;
}

/** Routes in code that are not valid; the message lists every problem. */
export class OwnRoutesError extends Error {
  override readonly name = 'OwnRoutesError';

  constructor(problems: readonly string[]) {
    super(
      [
        `Invalid routes or pages in src/own (${problems.length} ${problems.length === 1 ? 'problem' : 'problems'}):`,
        ...problems.map((each) => `  ${each}`),
      ].join('\n'),
    );
  }
}

/** How a problem names a route in code. */
export function nameOwnRoute(path: string): string {
  return `the route ${JSON.stringify(path)}`;
}

/**
 * The conflicts of routes in code with each other and with the route table, whose rows come after them. A route in code may
 * take some of the requests of a row (`/orders/new` of `/orders/:id`), but not be in the way of a row that is as narrow as it is.
 */
export function checkOwnRoutes(own: readonly Route[], table: readonly Route[]): readonly string[] {
  const amongOwn = own.flatMap((one, index) =>
    own
      .slice(index + 1)
      .filter((other) => covers(one.path, other.path) && sharedMethods(one, other).length > 0)
      .map(
        (other) =>
          `${nameOwnRoute(other.path)} gets no request with ${sharedMethods(one, other)}: ${JSON.stringify(one.path)} is listed before it`,
      ),
  );
  const withTable = own.flatMap((one) =>
    table.flatMap((row, index) => {
      const methods = sharedMethods(one, row);
      const isNarrower = covers(row.path, one.path) && !covers(one.path, row.path);
      return methods.length === 0 || isNarrower || !overlap(one.path, row.path)
        ? []
        : [
            `${nameOwnRoute(one.path)} conflicts with routes[${index}] of the route table, ${JSON.stringify(row.path)}: both match some requests with ${methods}. Change one of the paths, or remove ${methods} from one of them`,
          ];
    }),
  );
  return [...amongOwn, ...withTable];
}

/** The methods that both handle, as text; empty if there are none. */
function sharedMethods(one: Route, other: Route): string {
  const shared = Object.keys(one.methods).filter((each) => each in other.methods);
  const handlesHead = ({ methods }: Route) => 'HEAD' in methods || 'GET' in methods;
  if (shared.length === 0 && handlesHead(one) && handlesHead(other)) return 'HEAD';
  return shared.join(', ');
}

const isParameter = (segment: string) => segment.startsWith(':');
const isRest = (segment: string | undefined) => segment?.startsWith('*') ?? false;

/** True if `wide` matches every path that `narrow` matches. */
function covers(wide: string, narrow: string): boolean {
  const [wideSegments, narrowSegments] = [wide.split('/'), narrow.split('/')];
  for (const [index, segment] of wideSegments.entries()) {
    const other = narrowSegments[index];
    if (other === undefined) return false;
    if (isRest(segment)) return true;
    if (isRest(other)) return false;
    if (!isParameter(segment) && segment !== other) return false;
  }
  return narrowSegments.length === wideSegments.length;
}

/** True if there is a path that both match. */
function overlap(one: string, other: string): boolean {
  const [left, right] = [one.split('/'), other.split('/')];
  for (let index = 0; ; index += 1) {
    const [a, b] = [left[index], right[index]];
    if (a === undefined || b === undefined) return a === b;
    if (isRest(a) || isRest(b)) return true;
    if (!isParameter(a) && !isParameter(b) && a !== b) return false;
  }
}
