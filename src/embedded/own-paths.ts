import type { IncomingMessage } from 'node:http';
import { posix } from 'node:path';
import { paths } from '../paths.ts';

/** Each with everything below it. The other paths of the standalone server are those of the app around Latchkey. */
const ownPaths: readonly string[] = [posix.dirname(paths.login), paths.api, paths.profile];

/** A request as Express passes it to middleware that is mounted at a path. */
export interface MountedRequest extends IncomingMessage {
  /** The path at which the middleware is mounted, without a slash at the end. */
  readonly baseUrl?: string;
}

/** Whose a request is; `elsewhere`: Latchkey would respond if it were mounted at its base path. */
export type PathOwner = 'latchkey' | 'host' | 'elsewhere';

/**
 * Whose the path of a request is. Latchkey may be mounted at its base path, or at a path above it; then the base path is
 * part of the rest of the path.
 */
export function ownerOf({ baseUrl = '', url = '' }: MountedRequest, basePath: string): PathOwner {
  const full = baseUrl + url;
  if (full.startsWith(basePath) && isOwn(full.slice(basePath.length))) return 'latchkey';
  if (basePath.startsWith(`${baseUrl}/`)) return 'host';
  const isMountedInOtherCase = baseUrl.toLowerCase() === basePath.toLowerCase(); // by Express, which ignores case
  return isOwn(url) && !isMountedInOtherCase ? 'elsewhere' : 'host';
}

/** True for a path that is left to the host, but looks as if a proxy had removed the base path from it. */
export function isWithoutBasePath({ baseUrl = '', url = '' }: MountedRequest, basePath: string): boolean {
  const [path = ''] = (baseUrl + url).split(/[?#]/, 1);
  return basePath !== '' && (path === paths.login || path === paths.signIn);
}

function isOwn(url: string): boolean {
  const [path = ''] = url.split(/[?#]/, 1);
  return ownPaths.some((each) => path === each || path.startsWith(`${each}/`));
}
