import { Agent, request } from 'undici';

/** What the provider says about a token that is alive and of the bearer kind. */
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

/** The provider could not be asked, so nothing is known about the token. */
export class IntrospectionFailed extends Error {}

export interface Introspection {
  /** The token's sub and scopes; `undefined` when it is not a living access token. RFC 7662. */
  introspect(token: string): Promise<ActiveToken | undefined>;
  close(): Promise<void>;
}

const timeoutMs = 5_000;

/** Asks the provider about every token, every time: a revoked one is refused at once. */
export function createIntrospection(settings: IntrospectionSettings): Introspection {
  const dispatcher = new Agent({
    headersTimeout: timeoutMs,
    bodyTimeout: timeoutMs,
    connectTimeout: timeoutMs,
  });
  const credentials = [settings.clientId, settings.clientSecret].map(encodeURIComponent).join(':');
  const authorization = `Basic ${Buffer.from(credentials).toString('base64')}`;

  async function ask(token: string): Promise<Record<string, unknown>> {
    try {
      const { statusCode, body } = await request(settings.introspectionUrl, {
        dispatcher,
        method: 'POST',
        headers: { authorization, 'content-type': 'application/x-www-form-urlencoded' },
        body: new URLSearchParams({ token, token_type_hint: 'access_token' }).toString(),
      });
      const answer = await body.text();
      if (statusCode !== 200) throw new Error(`status ${statusCode}`);
      return JSON.parse(answer);
    } catch (cause) {
      throw new IntrospectionFailed('the provider gave no answer about a token', { cause });
    }
  }

  return {
    async introspect(token) {
      const { active, token_type, sub, scope } = await ask(token);
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
