import type { Request } from 'express';
import type { ResourceServer } from '../config/route-table.ts';

/** A segment of a route of Express that means the same in a path of the route table. */
const simpleSegment = /^([:*][A-Za-z_]\w*|[\w.~%-]*)$/;

/**
 * The route of an app around Latchkey that a request came through, as rows of a route table; none for requests to Latchkey.
 * As the app has written it, so that other parameters are mapped too, and with the parameters of this request, as the
 * target need not use all of them.
 * @param targetPath that of this request, without its query
 */
export function listHostRoutes(
  { pageUrl, baseUrl, route }: Request,
  server: Pick<ResourceServer, 'origin' | 'targetPath'>,
  targetPath: string,
) {
  if (pageUrl === undefined) return [];
  const prefix = '';
  const [path = ''] = pageUrl.split('?', 1);
  const received = { prefix, origin: server.origin, path: path.replace(/(?<=.)\/$/, ''), targetPath };
  const pattern: unknown = route?.path;
  if (typeof pattern !== 'string' || !pattern.split('/').every((each) => simpleSegment.test(each)))
    return [received];
  return [
    { prefix, origin: server.origin, path: baseUrl + pattern, targetPath: server.targetPath },
    received,
  ];
}
