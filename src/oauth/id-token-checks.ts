import { setTimeout as delay } from 'node:timers/promises';
import type { Claims } from '../claims/read-claim.ts';
import type { Logger } from '../logger.ts';
import { type Identity, type ReceivedIdToken, verifyLogin, verifyRefreshed } from './id-token.ts';
import { type LogoutToken, verifyLogoutToken } from './jwt/logout-token.ts';
import type { TokenVerifier } from './jwt/signed-token.ts';
import { type LoginRequirements, minMaxAge, readConfiguredRequirements } from './login-requirements.ts';
import type { Provider, Server } from './metadata.ts';
import { OAuthError } from './oauth-error.ts';
import type { ProviderKeys } from './provider-keys.ts';
import type { TokenResponse } from './token-response.ts';
import type { TokenSet } from './token-set.ts';

/** A refresh has spent its refresh token when it checks an ID token, so its result is stored after this time at most. */
const maxVerifyMs = 2_000;

interface LoginRequest extends LoginRequirements {
  readonly nonce: string;
  readonly requestedAt: number;
}

/** The ID token checks for one provider: which tokens are checked, against what, and what a failure means. */
export function createIdTokenChecks(provider: Provider, log: Logger) {
  const { clientId, deviations, clockToleranceSeconds } = provider;
  const areUsed = provider.issuer !== undefined && provider.scopes.includes('openid');
  const floor = readConfiguredRequirements(provider.authorizationParameters);

  /**
   * The provider's keys if ID tokens are used.
   * @throws OAuthError `client_misconfigured`: there are none, so nobody can sign in
   */
  function requireKeys({ keys }: Server): ProviderKeys | undefined {
    if (!areUsed || keys) return keys;
    throw new OAuthError(
      'client_misconfigured',
      'ID tokens cannot be verified, because the metadata has no jwks_uri: set OAUTH2_JWKS_URL',
    );
  }

  function verifierFor(server: Server): TokenVerifier {
    return { clientId, issuers: server.issuers, keys: requireKeys(server)!, clockToleranceSeconds };
  }

  return {
    /** False without an issuer, to compare the ID token's with, and without the scope `openid`, which requests one. */
    areUsed,
    requireKeys,
    /**
     * What a logout token says (OpenID Connect Back-Channel Logout 1.0). Anybody can send one.
     * @throws OAuthError `invalid_response`, or `unavailable`: the provider's keys cannot be fetched
     */
    verifyLogout: (server: Server, token: string, now: number): Promise<LogoutToken> =>
      verifyLogoutToken({ ...verifierFor(server), keys: requireKeys(server)!.unsolicited }, token, now, {
        isExpOptional: deviations.includes('logout-exp-missing'),
        isSidRequired: provider.isLogoutSidRequired ?? false,
      }),

    canVerify: ({ keys }: Server) => !areUsed || keys !== undefined,

    /**
     * The identity and claims of a login's ID token; without ID tokens, no identity and no claims.
     * @throws OAuthError `invalid_response`, or `outcome_unknown`: the provider's keys cannot be fetched, and the code has
     * been redeemed, so that it cannot be used again
     */
    async verifyLogin(
      server: Server,
      response: TokenResponse,
      tokens: TokenSet,
      { nonce, requestedAt, acrValues, maxAge }: LoginRequest,
    ): Promise<{
      readonly idToken?: string;
      readonly identity: Identity | undefined;
      readonly claims: Claims;
    }> {
      if (!areUsed) return { identity: undefined, claims: {} };
      const received = readIdToken(response, tokens);
      if (!received)
        throw new OAuthError(
          'invalid_response',
          'the token response has no id_token, although the scope has openid',
        );
      const verified = await verifyLogin(verifierFor(server), received, {
        nonce,
        requestedAt,
        isNonceOptional: deviations.includes('nonce-missing'),
        acrValues: [floor.acrValues, acrValues].flatMap((each) => each?.split(' ') ?? []),
        isAcrOptional: floor.acrValues === undefined,
        maxAge: minMaxAge(floor.maxAge, maxAge),
      }).catch((error: unknown) => {
        if (!(error instanceof OAuthError) || error.kind !== 'unavailable') throw error;
        const { message, retryAfterSeconds } = error;
        throw new OAuthError('outcome_unknown', message, { cause: error, retryAfterSeconds });
      });
      return { idToken: received.idToken, ...verified };
    },

    /**
     * The ID token of a refresh response if it is new and belongs to `identity`; `undefined` if there is none, if the login
     * had none, or if the provider's keys cannot be fetched now.
     * @throws OAuthError `invalid_response`: it is not a valid ID token of this user
     */
    async verifyRefreshed(
      server: Server,
      response: TokenResponse,
      tokens: TokenSet,
      identity: Identity | undefined,
    ): Promise<string | undefined> {
      const received = readIdToken(response, tokens);
      if (!areUsed || !identity || !received || received.idToken === tokens.idToken) return undefined;
      try {
        await Promise.race([
          verifyRefreshed(verifierFor(server), received, identity),
          rejectAfter(maxVerifyMs),
        ]);
        return received.idToken;
      } catch (error) {
        if (error instanceof OAuthError && error.kind === 'invalid_response') throw error;
        log.warn(
          { err: error },
          'cannot verify the ID token of a refresh response; ignoring it and keeping the user',
        );
        return undefined;
      }
    },
  };
}

function readIdToken(response: TokenResponse, tokens: TokenSet): ReceivedIdToken | undefined {
  const { received_id_token: idToken, received_date: date } = response;
  if (typeof idToken !== 'string') return undefined;
  return {
    idToken,
    accessToken: tokens.accessToken,
    arrivedAt: tokens.issuedAt,
    serverTime: typeof date === 'number' ? date : undefined,
  };
}

async function rejectAfter(ms: number): Promise<never> {
  await delay(ms, undefined, { ref: false });
  throw new OAuthError('unavailable', "the provider's keys were not received in time");
}
