import { AppError } from '../errors.ts';
import { readChallenge } from '../oauth/challenge.ts';
import type { LoginRequirements } from '../oauth/login-requirements.ts';
import { insufficientScope } from '../session/require-scope.ts';
import type { TokenRecord } from '../tokens/token-store.ts';

/** How long a login counts as having just been asked for a way of signing in for which no age is named. */
const recentSeconds = 300;
/** A login so young cannot be made younger: an age below it is met by nobody. */
const minRecentSeconds = 30;

/** An answer of an API, as far as it matters here. */
interface UpstreamResponseHead {
  readonly statusCode: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
}

/** A challenge that another login can meet. */
export interface StepUp extends LoginRequirements {
  readonly error: 'insufficient_scope' | 'insufficient_user_authentication';
}

/**
 * What an API asks of a login before it does what it was asked: `insufficient_scope` (RFC 6750 3.1) or
 * `insufficient_user_authentication` (RFC 9470 3). `undefined` for every other answer, which passes as it is.
 */
export async function readStepUp({ statusCode, headers }: UpstreamResponseHead): Promise<StepUp | undefined> {
  const header = headers['www-authenticate'];
  if (header === undefined || (statusCode !== 401 && statusCode !== 403)) return undefined;
  const challenge = await readChallenge(header);
  if (!challenge) return undefined;
  const { error, ...required } = challenge;
  const isStepUp = error === 'insufficient_scope' || error === 'insufficient_user_authentication';
  return isStepUp ? { error, ...required } : undefined;
}

/**
 * The answer to a person whose login is not enough for an API.
 * @param now epoch milliseconds
 */
export function stepUpError(challenge: StepUp, login: TokenRecord, now: number): AppError {
  const { error, scope, acrValues, maxAge } = challenge;
  if (error === 'insufficient_scope') return insufficientScope(scope, login);
  return new AppError(error, {
    ...(scope.length > 0 && { scope }),
    ...(acrValues !== undefined && { acrValues }),
    ...(maxAge !== undefined && { maxAge }),
    alreadyRequested: wasRecentlyRequested(challenge, login, now),
  });
}

/** True when the last login has asked for just this way of signing in, so lately that it must have been meant. */
function wasRecentlyRequested(
  { acrValues, maxAge }: LoginRequirements,
  { requested, signedInAt }: TokenRecord,
  now: number,
): boolean {
  if (requested === undefined || requested.acrValues !== acrValues) return false;
  if (maxAge !== undefined && (requested.maxAge === undefined || requested.maxAge > maxAge)) return false;
  return now - signedInAt < Math.max(maxAge ?? recentSeconds, minRecentSeconds) * 1000;
}
