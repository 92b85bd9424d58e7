import { createHmac, timingSafeEqual } from 'node:crypto';
import type { Config } from '../config/load.ts';
import type { ResourceServer } from '../config/route-table.ts';
import { deriveKeys } from '../crypto/sealing.ts';
import { type LoginRequirements, readLoginRequirements } from '../oauth/login-requirements.ts';
import type { User } from '../oauth/userinfo.ts';
import { paths } from '../paths.ts';
import type { TokenRecord } from '../tokens/token-store.ts';
import type { LoginRequest } from './login-transaction.ts';

type Query = Readonly<Record<string, unknown>>;

export interface LoginParameters {
  /**
   * The query of a login URL that requests `requirements`, signed, so that `/auth/login` accepts scopes and `acr_values`
   * that only an API has named. It is valid for one user.
   * @param userTags see `PageUserTags`; the first one signs
   */
  createQuery(requirements: LoginRequirements, userTags: readonly string[]): URLSearchParams;
  /**
   * What a login URL requests. Without a valid signature, scopes that this deployment does not use, and `acr_values` other
   * than the configured ones, are left out and listed in `ignored`: any page can link to `/auth/login`.
   */
  read(query: Query, userTags: readonly string[]): RequestedLogin;
  /** The request without the scopes and `acr_values` that a link may set only with a signature. */
  restrict(request: LoginRequest): LoginRequest;
}

export interface RequestedLogin
  extends Pick<LoginRequest, 'scope' | 'acrValues' | 'maxAge' | 'prompt' | 'loginHint' | 'uiLocales'> {
  readonly ignored: readonly string[];
}

const prompts = new Set(['none', 'login', 'consent', 'select_account', 'create']);
/** Language tags (BCP 47), separated by spaces. */
const localesFormat = /^[A-Za-z0-9-]{1,35}( [A-Za-z0-9-]{1,35}){0,9}$/;
const hintFormat = /^\P{Cc}{1,320}$/u;
const parameterNames = [
  ...['scope', 'acr_values', 'max_age', 'signature'],
  ...['prompt', 'login_hint', 'ui_locales'],
];

/** The parameters of `/auth/login` (OIDC Core 3.1.2.1), and which of them a link may set. */
export function createLoginParameters({
  provider,
  routes,
  session,
}: Pick<Config, 'provider' | 'routes' | 'session'>): LoginParameters {
  const keys = deriveKeys(session, 'login_url');
  const usedScopes = new Set([...provider.scopes, ...routes.flatMap(listUserScopes)]);
  const configuredAcr = readLoginRequirements(Object.fromEntries(provider.authorizationParameters)).acrValues;

  function sign({ scope, acrValues, maxAge }: LoginRequirements, userTag: string): readonly Buffer[] {
    const text = JSON.stringify([userTag, scope, acrValues ?? null, maxAge ?? null]);
    return keys.map((key) => createHmac('sha256', key).update(text).digest());
  }

  function isSigned(query: Query, requirements: LoginRequirements, userTags: readonly string[]): boolean {
    const { signature } = query;
    if (typeof signature !== 'string') return false;
    const given = Buffer.from(signature, 'base64url');
    return userTags
      .flatMap((tag) => sign(requirements, tag))
      .some((each) => each.length === given.length && timingSafeEqual(each, given));
  }

  /** `acr_values` that a link may set: those of the operator, or, if there are none, any; they only add a requirement. */
  function mayRequest(acrValues: string): boolean {
    return (
      configuredAcr === undefined ||
      acrValues.split(' ').every((each) => configuredAcr.split(' ').includes(each))
    );
  }

  return {
    createQuery(requirements, [userTag]) {
      const { scope, acrValues, maxAge } = requirements;
      const query = new URLSearchParams();
      if (scope.length > 0) query.set('scope', scope.join(' '));
      if (acrValues !== undefined) query.set('acr_values', acrValues);
      if (maxAge !== undefined) query.set('max_age', String(maxAge));
      if (query.size > 0 && userTag !== undefined)
        query.set('signature', sign(requirements, userTag)[0]!.toString('base64url'));
      return query;
    },

    restrict({ acrValues, ...request }) {
      return {
        ...request,
        scope: request.scope.filter((each) => usedScopes.has(each)),
        ...(acrValues !== undefined && mayRequest(acrValues) && { acrValues }),
      };
    },

    read(query, userTags) {
      const requirements = readLoginRequirements(query);
      const { scope, acrValues, maxAge } = requirements;
      const isOurs = isSigned(query, requirements, userTags);
      const isAllowed = (each: string) => isOurs || usedScopes.has(each);
      const isAcrAllowed = acrValues === undefined || isOurs || mayRequest(acrValues);
      const { login_hint: hint, ui_locales: locales, prompt } = query;
      const knownPrompt =
        typeof prompt === 'string' ? prompt.split(' ').filter((each) => prompts.has(each)) : [];
      return {
        scope: scope.filter(isAllowed),
        ...(acrValues !== undefined && isAcrAllowed && { acrValues }),
        ...(maxAge !== undefined && { maxAge }),
        ...(knownPrompt.length > 0 && { prompt: knownPrompt.join(' ') }),
        ...(typeof hint === 'string' && hintFormat.test(hint) && { loginHint: hint }),
        ...(typeof locales === 'string' && localesFormat.test(locales) && { uiLocales: locales }),
        ignored: [
          ...scope.filter((each) => !isAllowed(each)).map((each) => `scope ${each}`),
          ...(isAcrAllowed ? [] : [`acr_values ${acrValues}`]),
        ],
      };
    },
  };
}

/** The URL of `/auth/login` with the parameters of `query` that it reads. */
export function copyLoginUrl(query: Query, returnTo: string, basePath: string): string {
  const parameters = new URLSearchParams({ return_to: returnTo });
  for (const name of parameterNames) {
    const value = query[name];
    if (typeof value === 'string') parameters.set(name, value);
  }
  return `${basePath}${paths.login}?${parameters}`;
}

/** True when the query requests more than any login, so that it also concerns a user who is signed in. */
export function isStepUp(query: Query): boolean {
  const { scope, acrValues, maxAge } = readLoginRequirements(query);
  return scope.length > 0 || acrValues !== undefined || maxAge !== undefined || query.prompt !== undefined;
}

/** The scopes that the user must have granted for a route; users do not grant the scopes of an app token. */
export function listUserScopes({ token, methods }: ResourceServer): readonly string[] {
  if (token === 'app' || token === 'none') return [];
  return Object.values(methods).flatMap(({ allOf, anyOf }) => [...allOf, ...anyOf]);
}

/** True when the login of `record` requested at least what `loginRequest` requests. */
export function includesRequest(
  { requested, tokens }: TokenRecord,
  { scope, acrValues, maxAge }: LoginRequest,
): boolean {
  if (!requested) return true; // a record of an older version
  const scopes = new Set([...requested.scope, ...tokens.scope]);
  const isRecent = maxAge === undefined || (requested.maxAge !== undefined && requested.maxAge <= maxAge);
  return (
    scope.every((each) => scopes.has(each)) &&
    (acrValues === undefined || acrValues === requested.acrValues) &&
    isRecent
  );
}

/** True when `user` is certainly the user of `old`. */
export function isSameUser(old: TokenRecord | undefined, { sub }: User): boolean {
  return sub !== undefined && sub === old?.user.sub;
}
