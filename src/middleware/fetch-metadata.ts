import type { Request } from 'express';
import { isSafe } from './http-methods.ts';

/**
 * True when the browser will show the response as a page, false for `fetch` and XHR: by Fetch Metadata, or by `Accept`
 * when the browser does not send it.
 */
export function isNavigation(req: Request): boolean {
  const mode = req.headers['sec-fetch-mode'];
  if (mode !== undefined) return mode === 'navigate';
  return req.headers.accept?.includes('text/html') ?? false;
}

/** True for a form that the user submitted as a navigation. */
export function isFormSubmission(req: Request): boolean {
  return !isSafe(req.method) && isNavigation(req);
}

/** True when the browser or a link preview fetches the page before the user opens it. */
export function isPrefetch(req: Request): boolean {
  return `${req.headers['sec-purpose'] ?? ''}${req.headers.purpose ?? ''}`.includes('prefetch');
}
