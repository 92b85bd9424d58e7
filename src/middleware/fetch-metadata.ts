import type { Request, RequestHandler } from 'express';
import { AppError } from '../errors.ts';
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

/** The destinations whose content browsers show as media or hand to a script as data (Fetch 2.2.5). */
const dataDestinations: ReadonlySet<string> = new Set([
  'audio',
  'document',
  'empty',
  'font',
  'image',
  'json',
  'report',
  'track',
  'video',
  'websocket',
]);

/**
 * Rejects requests whose response the browser would run or embed as part of our origin: scripts, styles, workers, worklets,
 * frames, plug-ins, XSLT, and kinds that do not exist yet.
 * @throws AppError `forbidden_destination`
 */
export const requireDataDestination: RequestHandler = function requireDataDestination(req, _res, next) {
  const destination = req.headers['sec-fetch-dest'];
  const isData = destination === undefined || dataDestinations.has(String(destination));
  if (!isData || req.headers['service-worker'] !== undefined) throw new AppError('forbidden_destination');
  next();
};
