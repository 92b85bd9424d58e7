import type { Request } from 'express';

/**
 * True when a person is going to look at the answer, false for `fetch` and XHR: Fetch Metadata where the browser
 * sends it, else whether the caller asks for HTML.
 */
export function isNavigation(req: Request): boolean {
  const mode = req.headers['sec-fetch-mode'];
  if (mode !== undefined) return mode === 'navigate';
  return req.headers.accept?.includes('text/html') ?? false;
}

/** True when nobody has asked for the page yet: the browser or a link preview fetches it in advance. */
export function isPrefetch(req: Request): boolean {
  return `${req.headers['sec-purpose'] ?? ''}${req.headers.purpose ?? ''}`.includes('prefetch');
}
