/** What a login must provide: scopes, and how (`acr_values`) and how recently the user authenticated (RFC 9470). */
export interface LoginRequirements {
  readonly scope: readonly string[];
  /** Separated by spaces, in order of preference (OIDC Core 3.1.2.1). */
  readonly acrValues?: string;
  /** Maximum age of the user's authentication, in seconds. */
  readonly maxAge?: number;
}

const maxScopeLength = 1_000;
const maxAcrValuesLength = 300;
const maxAgeLimit = 2 ** 31 - 1;

const token = /^[\x21\x23-\x5B\x5D-\x7E]+$/;
const wholeNumber = /^\d{1,10}$/;

/**
 * The parameters `scope`, `acr_values` and `max_age` of a request or a challenge. Invalid ones are left out: tokens
 * with other characters than those of RFC 6749 3.3, lists that are too long, and ages that are not whole seconds.
 */
export function readLoginRequirements(parameters: {
  readonly scope?: unknown;
  readonly acr_values?: unknown;
  readonly max_age?: unknown;
}): LoginRequirements {
  const acrValues = parseScopeTokens(parameters.acr_values, maxAcrValuesLength).join(' ');
  const maxAge = parseSeconds(parameters.max_age);
  return {
    scope: [...new Set(parseScopeTokens(parameters.scope, maxScopeLength))],
    ...(acrValues !== '' && { acrValues }),
    ...(maxAge !== undefined && { maxAge }),
  };
}

function parseScopeTokens(value: unknown, maxLength: number): readonly string[] {
  if (typeof value !== 'string' || value.length > maxLength) return [];
  return value.split(' ').filter((each) => token.test(each));
}

function parseSeconds(value: unknown): number | undefined {
  if (typeof value !== 'string' || !wholeNumber.test(value)) return undefined;
  return Number(value) <= maxAgeLimit ? Number(value) : undefined;
}
