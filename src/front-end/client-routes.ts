import type { Request } from 'express';

/** Files that browsers load: a path that ends with one of these is never a route of the front end. */
const fileExtension = new RegExp(
  `\\.(?:${[
    'm?js|cjs|jsx|tsx?|css|map|json|webmanifest|wasm|html?|xml|txt|pdf|zip|gz|br|zst',
    'png|jpe?g|gif|svg|webp|avif|ico|bmp|woff2?|ttf|otf|eot|mp[34]|m4a|webm|og[gv]|wav|php|aspx?|jsp|cgi',
  ].join('|')})$`,
  'i',
);

/**
 * True if a request without a file gets `index.html`, whose scripts read the path: a navigation or a crawler, and a path that
 * does not end with the name of a file. A path may have a dot (`/users/jane.doe`), but not one of the extensions above, so that
 * a missing script is 404 and not a page.
 */
export function isClientRoute(req: Request, path: string): boolean {
  return prefersPage(req) && !fileExtension.test(path) && !path.startsWith('/.well-known/');
}

/** True for a navigation; without Fetch Metadata, if `Accept` does not prefer JSON: crawlers often accept anything. */
function prefersPage(req: Request): boolean {
  const mode = req.headers['sec-fetch-mode'];
  return mode === undefined ? req.accepts(['html', 'json']) === 'html' : mode === 'navigate';
}
