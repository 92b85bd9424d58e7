import type { Request, RequestHandler, Response } from 'express';
import type { Introspection } from './introspection.ts';
import { findPerson, type Person } from './people.ts';

interface Challenge {
  readonly error?: 'invalid_token' | 'insufficient_scope';
  readonly error_description?: string;
  readonly scope?: string;
}

function refuse(res: Response, status: 401 | 403, challenge: Challenge): void {
  const parameters = Object.entries({ realm: 'demo-api', ...challenge }).map(
    ([name, value]) => `${name}="${value}"`,
  );
  res
    .status(status)
    .set('WWW-Authenticate', `Bearer ${parameters.join(', ')}`)
    .json({ error: challenge.error ?? 'missing_token' });
}

/**
 * Lets a request through when its bearer token is alive, holds the scope and belongs to a person, who is then
 * `personOf(res)`; answers the others as RFC 6750 says.
 */
export function requirePerson(introspection: Introspection, scope: string): RequestHandler {
  return async function person(req: Request, res: Response, next) {
    const token = /^Bearer ([\w.~+/-]+=*)$/i.exec(req.get('authorization') ?? '')?.[1];
    if (token === undefined) {
      refuse(res, 401, {});
      return;
    }
    const active = await introspection.introspect(token);
    if (active === undefined) {
      refuse(res, 401, { error: 'invalid_token' });
      return;
    }
    const found = findPerson(active.sub ?? '');
    if (found === undefined || !active.scopes.has(scope)) {
      const error_description =
        found === undefined ? 'This needs the token of a person' : 'The scope is missing';
      refuse(res, 403, { error: 'insufficient_scope', error_description, scope });
      return;
    }
    res.locals.person = found;
    next();
  };
}

export function personOf(res: Response): Person {
  return res.locals.person as Person;
}
