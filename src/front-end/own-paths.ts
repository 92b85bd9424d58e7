import { match } from 'path-to-regexp';
import { paths } from '../paths.ts';

const subtrees = ['/auth', paths.api];
const pages: ReadonlySet<string> = new Set([...subtrees, paths.profile, paths.health, paths.ready]);

/**
 * `isOwnPath(path)`: true for a path of Latchkey itself, or of a page in code, with or without a slash at its end. Paths in
 * another case are not Latchkey's.
 */
export function createOwnPathTest(
  codePages: readonly { readonly path: string }[],
): (path: string) => boolean {
  const matches = codePages.map(({ path }) => match(path, { sensitive: true }));
  return function isOwnPath(path) {
    if (subtrees.some((each) => path.startsWith(`${each}/`))) return true;
    return pages.has(path.endsWith('/') ? path.slice(0, -1) : path) || matches.some((test) => test(path));
  };
}
