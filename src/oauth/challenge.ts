import {
  Configuration,
  customFetch,
  fetchProtectedResource,
  WWWAuthenticateChallengeError,
} from 'openid-client';
import { type LoginRequirements, readLoginRequirements } from './login-requirements.ts';

/** What an API requires in `WWW-Authenticate` (RFC 6750 3, RFC 9470 3). */
export interface Challenge extends LoginRequirements {
  /** `insufficient_scope`, `insufficient_user_authentication`, `invalid_token`, or a code of the API's own. */
  readonly error: string;
}

const maxHeaderLength = 4_096;
const schemes = new Set(['bearer', 'dpop']);
const errorCode = /^[\w.-]{1,64}$/;
const dummyUrl = 'https://api.invalid/';

/**
 * The first challenge for an access token that has an `error`; `undefined` when there is none, or when the header is
 * too long or not in the form of RFC 9110 11.6.1.
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

/** The protocol library parses challenges only in responses, so it gets one that was never sent. */
async function parseChallenges(header: string): Promise<WWWAuthenticateChallengeError['cause']> {
  const server = new Configuration({ issuer: dummyUrl }, 'unused');
  server[customFetch] = async () =>
    new Response(null, { status: 401, headers: { 'www-authenticate': header } });
  try {
    await fetchProtectedResource(server, 'none', new URL(dummyUrl), 'GET');
  } catch (error) {
    if (error instanceof WWWAuthenticateChallengeError) return error.cause;
    // Otherwise not a valid header value: line breaks, or characters outside Latin-1.
  }
  return [];
}
