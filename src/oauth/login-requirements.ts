/** What a login has to bring: permissions, and how (`acr_values`) and how recently the person signed in (RFC 9470). */
export interface LoginRequirements {
  readonly scope: readonly string[];
  /** Separated by spaces, in order of preference (OIDC Core 3.1.2.1). */
  readonly acrValues?: string;
  /** Seconds since the person proved who they are. */
  readonly maxAge?: number;
}

const maxScopeLength = 1_000;
const maxAcrValuesLength = 300;
const largestMaxAge = 2 ** 31 - 1;

const token = /^[\x21\x23-\x5B\x5D-\x7E]+$/;
const wholeNumber = /^\d{1,10}$/;

/**
 * The parameters `scope`, `acr_values` and `max_age` of a request or a challenge, as far as they are sound: tokens of
 * the characters of RFC 6749 3.3, not too many of them, and whole seconds. Whatever is not, is left out.
 */
export function readLoginRequirements(parameters: {
  readonly scope?: unknown;
  readonly acr_values?: unknown;
  readonly max_age?: unknown;
}): LoginRequirements {
  const acrValues = parseScopeTokens(parameters.acr_values, maxAcrValuesLength).join(' ');
  const maxAge = secondsOf(parameters.max_age);
  return {
    scope: [...new Set(parseScopeTokens(parameters.scope, maxScopeLength))],
    ...(acrValues !== '' && { acrValues }),
    ...(maxAge !== undefined && { maxAge }),
  };
}

function parseScopeTokens(value: unknown, longest: number): readonly string[] {
  if (typeof value !== 'string' || value.length > longest) return [];
  return value.split(' ').filter((each) => token.test(each));
}

function secondsOf(value: unknown): number | undefined {
  if (typeof value !== 'string' || !wholeNumber.test(value)) return undefined;
  return Number(value) <= largestMaxAge ? Number(value) : undefined;
}
