import { AppError } from '../errors.ts';
import { readChallenge } from '../oauth/challenge.ts';
import type { LoginRequirements } from '../oauth/login-requirements.ts';
import { insufficientScope } from '../session/require-scope.ts';
import type { TokenRecord } from '../tokens/token-store.ts';

/** For how long a repeated challenge without `max_age` counts as already requested. */
const defaultRecentSeconds = 300;
/** Minimum enforceable `max_age`: no login is younger than this when the browser is back from the provider. */
const minRecentSeconds = 30;

interface UpstreamResponseHead {
  readonly statusCode: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
}

/** A challenge that another login can satisfy. */
export interface StepUp extends LoginRequirements {
  readonly error: 'insufficient_scope' | 'insufficient_user_authentication';
}

/**
 * The challenge of an API that requires more of the login: `insufficient_scope` (RFC 6750 3.1) or
 * `insufficient_user_authentication` (RFC 9470 3). `undefined` for every other response; those are forwarded unchanged.
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
 * The error for a user whose login does not satisfy `challenge`.
 * @param now epoch milliseconds
 */
export function createStepUpError(challenge: StepUp, login: TokenRecord, now: number): AppError {
  const { error, scope, acrValues, maxAge } = challenge;
  if (error === 'insufficient_scope') return insufficientScope(scope, login);
  return new AppError(error, {
    ...(scope.length > 0 && { scope }),
    ...(acrValues !== undefined && { acrValues }),
    ...(maxAge !== undefined && { maxAge }),
    alreadyRequested: wasRecentlyRequested(challenge, login, now),
  });
}

/** True when the last login was recent and requested the same authentication, so that another login would not help. */
function wasRecentlyRequested(
  { acrValues, maxAge }: LoginRequirements,
  { requested, signedInAt }: TokenRecord,
  now: number,
): boolean {
  if (requested === undefined || requested.acrValues !== acrValues) return false;
  if (maxAge !== undefined && (requested.maxAge === undefined || requested.maxAge > maxAge)) return false;
  return now - signedInAt < Math.max(maxAge ?? defaultRecentSeconds, minRecentSeconds) * 1000;
}
