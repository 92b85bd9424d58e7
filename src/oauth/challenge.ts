import {
  Configuration,
  customFetch,
  fetchProtectedResource,
  WWWAuthenticateChallengeError,
} from 'openid-client';
import { type LoginRequirements, readLoginRequirements } from './login-requirements.ts';

/** What an API asks for in `WWW-Authenticate` (RFC 6750 3, RFC 9470 3). */
export interface Challenge extends LoginRequirements {
  /** `insufficient_scope`, `insufficient_user_authentication`, `invalid_token`, or a word of the API's own. */
  readonly error: string;
}

const maxHeaderLength = 4_096;
const schemes = new Set(['bearer', 'dpop']);
const errorCode = /^[\w.-]{1,64}$/;
const dummyUrl = 'https://api.invalid/';

/**
 * The first challenge for an access token that says what is wrong; `undefined` when there is none, or when the header
 * cannot be trusted to mean what it says: too long, or not of the form of RFC 9110 11.6.1.
 */
export async function readChallenge(
  header: string | readonly string[] | undefined,
): Promise<Challenge | undefined> {
  const value = typeof header === 'string' ? header : header?.join(', ');
  if (value === undefined || value.length > maxHeaderLength) return undefined;
  for (const { scheme, parameters } of await parseChallenges(value)) {
    const { error } = parameters;
    if (!schemes.has(scheme) || error === undefined || !errorCode.test(error)) continue;
    return { error, ...readLoginRequirements(parameters) };
  }
  return undefined;
}

/** The protocol library reads challenges of responses only, so it is given one that never travelled. */
async function parseChallenges(header: string): Promise<WWWAuthenticateChallengeError['cause']> {
  const server = new Configuration({ issuer: dummyUrl }, 'nobody');
  server[customFetch] = async () =>
    new Response(null, { status: 401, headers: { 'www-authenticate': header } });
  try {
    await fetchProtectedResource(server, 'none', new URL(dummyUrl), 'GET');
  } catch (error) {
    if (error instanceof WWWAuthenticateChallengeError) return error.cause;
    // Not a header at all: line breaks, or characters beyond Latin-1.
  }
  return [];
}
