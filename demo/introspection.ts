import { Agent, request } from 'undici';

/** What the provider reports about an active access token. */
export interface ActiveToken {
  /** Missing for a token of the application itself (client credentials). */
  readonly sub: string | undefined;
  readonly scopes: ReadonlySet<string>;
}

export interface IntrospectionSettings {
  readonly introspectionUrl: string;
  readonly clientId: string;
  readonly clientSecret: string;
}

/** The introspection request failed, so it is unknown whether the token is active. */
export class IntrospectionError extends Error {}

export interface Introspection {
  /** The token's sub and scopes; `undefined` when it is not an active access token. RFC 7662. */
  introspect(token: string): Promise<ActiveToken | undefined>;
  close(): Promise<void>;
}

const timeoutMs = 5_000;

/** Introspects every token on every request, without a cache: a revoked token is rejected at once. */
export function createIntrospection(settings: IntrospectionSettings): Introspection {
  const dispatcher = new Agent({
    headersTimeout: timeoutMs,
    bodyTimeout: timeoutMs,
    connectTimeout: timeoutMs,
  });
  const credentials = [settings.clientId, settings.clientSecret].map(encodeURIComponent).join(':');
  const authorization = `Basic ${Buffer.from(credentials).toString('base64')}`;

  async function requestIntrospection(token: string): Promise<Record<string, unknown>> {
    try {
      const { statusCode, body } = await request(settings.introspectionUrl, {
        dispatcher,
        method: 'POST',
        headers: { authorization, 'content-type': 'application/x-www-form-urlencoded' },
        body: new URLSearchParams({ token, token_type_hint: 'access_token' }).toString(),
      });
      const text = await body.text();
      if (statusCode !== 200) throw new Error(`status ${statusCode}`);
      return JSON.parse(text);
    } catch (cause) {
      throw new IntrospectionError('token introspection failed', { cause });
    }
  }

  return {
    async introspect(token) {
      const { active, token_type, sub, scope } = await requestIntrospection(token);
      // A refresh token is active too, but has no token_type.
      if (active !== true || token_type !== 'Bearer') return undefined;
      return {
        sub: typeof sub === 'string' ? sub : undefined,
        scopes: new Set(typeof scope === 'string' ? scope.split(' ') : []),
      };
    },
    close: () => dispatcher.destroy(),
  };
}
