import type { RequestHandler } from 'express';
import { AppError } from '../errors.ts';

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
