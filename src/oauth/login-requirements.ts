/** What a login must provide: scopes, and how (`acr_values`) and how recently the user authenticated (RFC 9470). */
export interface LoginRequirements {
  readonly scope: readonly string[];
  /** Separated by spaces, in order of preference (OIDC Core 3.1.2.1). */
  readonly acrValues?: string;
  /** Maximum age of the user's authentication, in seconds. */
  readonly maxAge?: number;
}

/** One login as the authorization endpoint sees it (RFC 6749 4.1.1, RFC 7636 4.3). */
export interface AuthorizationRequest extends LoginRequirements {
  readonly state: string;
  readonly codeVerifier: string;
  readonly nonce: string;
  /** When the login began, epoch milliseconds. */
  readonly requestedAt: number;
  /** Further parameters of the request (OIDC Core 3.1.2.1). */
  readonly prompt?: string;
  readonly loginHint?: string;
  readonly uiLocales?: string;
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

type Parameters = readonly (readonly [name: string, value: string])[];

/** What the operator requires of every login, in OAUTH2_AUTHORIZATION_PARAMS. */
export function readConfiguredRequirements(parameters: Parameters): LoginRequirements {
  return readLoginRequirements(Object.fromEntries(parameters));
}

/**
 * The parameters of an authorization request: those that the operator configured, and those of the login. A login can add
 * to what the operator requires, and never weaken it: the smaller `max_age` is sent, every `prompt`, and a `login_hint`
 * or `ui_locales` only if the operator has not set it.
 */
export function toRequestParameters(
  configured: Parameters,
  login: Pick<AuthorizationRequest, 'acrValues' | 'maxAge' | 'prompt' | 'loginHint' | 'uiLocales'>,
): URLSearchParams {
  const parameters = new URLSearchParams();
  for (const [name, value] of configured) parameters.append(name, value);
  const set = (name: string, value: string | undefined) => {
    if (value !== undefined) parameters.set(name, value);
  };
  const maxAge = minMaxAge(readConfiguredRequirements(configured).maxAge, login.maxAge);
  set('max_age', maxAge?.toString());
  set('acr_values', login.acrValues);
  const prompts = new Set(
    `${parameters.get('prompt') ?? ''} ${login.prompt ?? ''}`.split(' ').filter(Boolean),
  );
  if (prompts.size > 1) prompts.delete('none'); // `none` cannot be combined with others (OIDC Core 3.1.2.1)
  if (prompts.size > 0) set('prompt', [...prompts].join(' '));
  if (!parameters.has('login_hint')) set('login_hint', login.loginHint);
  if (!parameters.has('ui_locales')) set('ui_locales', login.uiLocales);
  return parameters;
}

/** The stricter of two maximum ages, in seconds. */
export function minMaxAge(first: number | undefined, second: number | undefined): number | undefined {
  if (first === undefined || second === undefined) return first ?? second;
  return Math.min(first, second);
}
