import type { Request, RequestHandler, Response } from 'express';
import type { Introspection } from './introspection.ts';
import { findUser, type User } from './users.ts';

interface Challenge {
  readonly error?: 'invalid_token' | 'insufficient_scope';
  readonly error_description?: string;
  readonly scope?: string;
}

function sendChallenge(res: Response, status: 401 | 403, challenge: Challenge): void {
  const parameters = Object.entries({ realm: 'demo-api', ...challenge }).map(
    ([name, value]) => `${name}="${value}"`,
  );
  res
    .status(status)
    .set('WWW-Authenticate', `Bearer ${parameters.join(', ')}`)
    .json({ error: challenge.error ?? 'missing_token' });
}

/**
 * Lets a request pass when its bearer token is active, has the scope and belongs to a user, whom `getUser(res)` then
 * returns. Any other request gets a 401 or 403 with a challenge (RFC 6750).
 */
export function requireUser(introspection: Introspection, scope: string): RequestHandler {
  return async function authenticateUser(req: Request, res: Response, next) {
    const token = /^Bearer ([\w.~+/-]+=*)$/i.exec(req.get('authorization') ?? '')?.[1];
    if (token === undefined) {
      sendChallenge(res, 401, {});
      return;
    }
    const activeToken = await introspection.introspect(token);
    if (activeToken === undefined) {
      sendChallenge(res, 401, { error: 'invalid_token' });
      return;
    }
    const user = findUser(activeToken.sub ?? '');
    if (user === undefined || !activeToken.scopes.has(scope)) {
      const error_description =
        user === undefined ? 'A user token is required' : 'The token does not have the required scope';
      sendChallenge(res, 403, { error: 'insufficient_scope', error_description, scope });
      return;
    }
    res.locals.user = user;
    next();
  };
}

/** The user of a request that passed `requireUser`. */
export function getUser(res: Response): User {
  return res.locals.user as User;
}
