import type { Request } from 'express';
import type { ResourceServer } from '../config/route-table.ts';

/** A segment of a route of Express that means the same in a path of the route table. */
const simpleSegment = /^([:*][A-Za-z_]\w*|[\w.~%-]*)$/;

/**
 * The route of an app around Latchkey that a request came through, as rows of a route table; none for requests to Latchkey.
 * As the app has written it, so that other parameters are mapped too, and with the parameters of this request, as the
 * target need not use all of them. Mounted with `app.use('/files', ...)`, it is everything at and below `/files`.
 * @param targetPath that of this request, without its query
 */
export function listHostRoutes(
  { pageUrl, baseUrl, path, route }: Request,
  { origin, targetPath: targetPattern }: Pick<ResourceServer, 'origin' | 'targetPath'>,
  targetPath: string,
) {
  if (pageUrl === undefined) return [];
  const row = { prefix: '', origin };
  const pattern: unknown = route?.path;
  const isSimple =
    typeof pattern === 'string' && pattern.split('/').every((each) => simpleSegment.test(each));
  // Express leaves the route of an earlier handler on the request, which may not be the one that it is now mounted at.
  if (route === undefined || (isSimple && !matches(pattern, path)))
    return [{ ...row, path: baseUrl, targetPath }];
  const received = { ...row, path: baseUrl + path.replace(/(?<=.)\/$/, ''), targetPath };
  return isSimple ? [{ ...row, path: baseUrl + pattern, targetPath: targetPattern }, received] : [received];
}

function matches(pattern: string, path: string): boolean {
  const segments = path.replace(/(?<=.)\/$/, '').split('/');
  const expected = pattern.replace(/(?<=.)\/$/, '').split('/');
  const hasWildcard = expected.some((each) => each.startsWith('*'));
  if (!hasWildcard && segments.length !== expected.length) return false;
  return expected.every(
    (each, index) => /^[:*]/.test(each) || each.toLowerCase() === segments[index]?.toLowerCase(),
  );
}
