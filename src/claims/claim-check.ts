import type { ClaimRule, Condition } from './conditions.ts';
import { type Claims, hasValue, readClaim } from './read-claim.ts';

export interface ClaimCheckOptions {
  /** The provider vouches for every address, and never says so in `email_verified` (deviation `email-verified-missing`). */
  readonly isEmailVerifiedOptional: boolean;
}

/** The first reason for which `claims` do not satisfy a rule, for the log: it names the claim, never its value. */
export type ClaimCheck = (claims: Claims) => string | undefined;

/** A check of `rule`: each claim that it names must be there, and meet its condition. */
export function createClaimCheck(rule: ClaimRule, options: ClaimCheckOptions): ClaimCheck {
  const checks = Object.entries(rule).map(([name, condition]) =>
    name === 'email' ? checkEmail(condition, options) : checkClaim(name, condition),
  );
  return function findRefusal(claims) {
    for (const check of checks) {
      const reason = check(claims);
      if (reason !== undefined) return reason;
    }
    return undefined;
  };
}

/** A check that one of `rules` is satisfied; its reason is that of each. */
export function createAlternatives(rules: readonly ClaimRule[], options: ClaimCheckOptions): ClaimCheck {
  const checks = rules.map((each) => createClaimCheck(each, options));
  return function findRefusal(claims) {
    const reasons = checks.map((each) => each(claims));
    return reasons.some((each) => each === undefined) ? undefined : reasons.join('; ');
  };
}

function checkClaim(name: string, condition: Condition): ClaimCheck {
  return (claims) => {
    const value = readClaim(claims, name);
    if (!hasValue(value)) return `the claim ${name} is missing`;
    const failed = findFailed(value, condition);
    return failed && `the claim ${name}, ${describeType(value)}, does not meet ${failed}`;
  };
}

/**
 * Addresses are compared without regard to case, as providers do not agree on it. An address that the user has only
 * entered says nothing, so `email_verified` must be true.
 */
function checkEmail(condition: Condition, { isEmailVerifiedOptional }: ClaimCheckOptions): ClaimCheck {
  const lower = (value: unknown) => (typeof value === 'string' ? toLowerAscii(value) : value);
  const wanted = Object.fromEntries(
    Object.entries(condition).map(([name, value]) => [
      name,
      Array.isArray(value) ? value.map(lower) : lower(value),
    ]),
  ) as Condition;
  return (claims) => {
    const value = readClaim(claims, 'email');
    if (!hasValue(value)) return 'the claim email is missing';
    if (typeof value !== 'string' || !/^[^\s@\p{Cc}]+@[^\s@\p{Cc}]+$/u.test(value))
      return 'the claim email is not one address';
    const verified = readClaim(claims, 'email_verified');
    const isMissing = !hasValue(verified);
    if (isMissing && !isEmailVerifiedOptional)
      return 'the claim email_verified is missing (if this provider verifies every address, declare the deviation email-verified-missing)';
    if (!isMissing && verified !== true && verified !== 'true') return 'the email is not verified';
    const failed = findFailed(toLowerAscii(value), wanted);
    return failed && `the claim email does not meet ${failed}`;
  };
}

/** The name of the first condition that `value` does not meet. */
function findFailed(value: unknown, condition: Condition): string | undefined {
  const { equals, anyOf, allOf, endsWith, exists } = condition;
  const items: readonly unknown[] = Array.isArray(value) ? value : [value];
  if (equals !== undefined && value !== equals) return 'equals';
  if (anyOf && !anyOf.some((each) => items.includes(each))) return 'anyOf';
  if (allOf && !allOf.every((each) => items.includes(each))) return 'allOf';
  if (endsWith !== undefined && ![endsWith].flat().some((each) => hasEnding(value, each))) return 'endsWith';
  return exists && (value === '' || items.length === 0) ? 'exists' : undefined;
}

/** Something has to be before the ending: `@example.com` is nobody's address. */
function hasEnding(value: unknown, ending: string): boolean {
  return typeof value === 'string' && value.length > ending.length && value.endsWith(ending);
}

/** Not `toLowerCase`, which makes a `k` of the Kelvin sign. */
function toLowerAscii(text: string): string {
  return text.replace(/[A-Z]+/g, (letters) => letters.toLowerCase());
}

function describeType(value: unknown): string {
  const type = Array.isArray(value) ? 'array' : typeof value;
  return `${/^[aeiou]/.test(type) ? 'an' : 'a'} ${type}`;
}
