import type { RequestHandler } from 'express';
import { createClaimCheck } from '../claims/claim-check.ts';
import { type ClaimRule, claimRule } from '../claims/conditions.ts';
import { AppError } from '../errors.ts';
import { claimsOf } from '../tokens/token-store.ts';

interface ClaimGuardParts {
  readonly isEmailVerifiedOptional: boolean;
  /** The names of the claims that rules depend on; those of the guards are added. */
  readonly neededClaims: Set<string>;
}

export type ClaimGuards = ReturnType<typeof createClaimGuards>;

/**
 * The middleware that accepts sessions by the claims about their user. Mount it after `requireToken`. A claim that is
 * missing does not satisfy any condition. The response does not say what the rule is; the log does.
 * @throws AppError `insufficient_claims`
 */
export function createClaimGuards({ isEmailVerifiedOptional, neededClaims }: ClaimGuardParts) {
  const createCheck = (rule: ClaimRule) => createClaimCheck(rule, { isEmailVerifiedOptional });

  /** All of `rule` must hold. It has been checked. */
  function requireClaims(rule: ClaimRule): RequestHandler {
    const check = createCheck(rule);
    for (const name of Object.keys(rule)) neededClaims.add(name);
    if ('email' in rule) neededClaims.add('email_verified');
    return function requireClaims(req, _res, next) {
      if (!req.login) throw new AppError('login_required');
      const reason = check(claimsOf(req.login));
      if (reason !== undefined) throw new AppError('insufficient_claims', { cause: new Error(reason) });
      next();
    };
  }

  return {
    /** Why claims do not satisfy `rule`. */
    createCheck,
    requireClaims,

    /** @throws Error the name or the condition is not valid */
    requireClaim(name: string, condition: object): RequestHandler {
      if (name === '__proto__') throw new Error('requireClaim: "__proto__" is not allowed as a name');
      const read = claimRule.safeParse({ [name]: condition });
      if (read.success) return requireClaims(read.data);
      const [issue] = read.error.issues;
      throw new Error(
        `requireClaim(${JSON.stringify(name)}): ${[...(issue?.path.slice(1) ?? []), issue?.message].join(' ')}`,
      );
    },
  };
}
