import type { RequestHandler } from 'express';
import { AppError } from '../errors.ts';

const maxLoggedLength = 100;

/**
 * `requireAllowedHost`: rejects requests whose `Host` names another host than the public one and `allowedHosts`, whatever
 * the port. Otherwise a page of any site whose DNS name is made to lead here (DNS rebinding) could call the routes that
 * need no session from the network of its reader. `X-Forwarded-Host` does not count, as such a page could set it.
 * @throws AppError `misdirected_request`
 */
export function createHostCheck(publicOrigin: string, allowedHosts: readonly string[]): RequestHandler {
  const { hostname } = new URL(publicOrigin);
  const allowed = new Set([hostname, ...allowedHosts]);
  const expected = [...allowed].join(', ');

  return function requireAllowedHost(req, _res, next) {
    const { host = '' } = req.headers;
    const name = host.toLowerCase().replace(/:\d*$/, '').replace(/\.$/, '');
    if (allowed.has(name)) return next();
    const received = JSON.stringify(host.slice(0, maxLoggedLength));
    const cause = new Error(
      `the request is for the host ${received}, expected ${expected} (see ALLOWED_HOSTS)`,
    );
    throw new AppError('misdirected_request', { cause });
  };
}
