import type { Random } from './random.ts';
import type { Owner, VirtualTime } from './virtual-time.ts';

export interface ProviderOptions {
  /** For how long a refresh token that was used works again; 0 is strict rotation with detection of reuse. */
  readonly graceMs: number;
  /** What a revocation ends: the whole grant, or only that token. */
  readonly revokes: 'grant' | 'token';
  readonly accessTokenSeconds: number;
}

/** What the provider does with requests at the moment. */
export interface ProviderCondition {
  readonly minMs: number;
  readonly maxMs: number;
  /** When the provider processes a request, as a share of its duration; otherwise at a random moment. */
  readonly processedAt?: number;
  /** The share of requests with this fault. */
  readonly faultShare: number;
  readonly fault: 'refused' | 'busy' | 'error' | 'answer_lost' | 'hangs';
}

/** The tokens of one user in one browser, as far as the provider is concerned (`revokes: 'grant'` ends all of it). */
export interface Grant {
  readonly id: number;
  readonly user: string;
  isRevoked: boolean;
  /** Why it is revoked. */
  revokedBy: 'revocation' | 'reuse' | undefined;
}

export interface RefreshToken {
  readonly value: string;
  readonly accessToken: string;
  readonly grant: Grant;
  /** Counts the refresh tokens of one login; each refresh makes the next one. */
  readonly generation: number;
  readonly login: number;
  isRevoked: boolean;
  /** The first time it was exchanged. */
  used: Use | undefined;
}

/** A request with a refresh token that the provider has granted. */
export interface Use {
  readonly by: Owner;
  readonly sentAt: number;
  readonly grantedAt: number;
  readonly next: RefreshToken;
  /** When the response has arrived at the process, if it has. */
  deliveredAt: number | undefined;
  /** When the process has learnt that it gets no response. */
  failedAt: number | undefined;
}

/** A refresh token that was sent although it had been exchanged. */
export interface SecondUse {
  readonly token: RefreshToken;
  readonly first: Use;
  readonly by: Owner;
  /** When it was sent. */
  readonly at: number;
}

/** Owns the events of the provider, which no process can pause. */
const network: Owner = { name: 'network', skewMs: 0, isDead: false, pausedUntil: 0 };

/** An authorization server: token and revocation endpoint, with rotation of refresh tokens. */
export class Provider {
  readonly refreshTokens = new Map<string, RefreshToken>();
  readonly uses: Use[] = [];
  readonly secondUses: SecondUse[] = [];
  /** How often each token was revoked successfully. */
  readonly revocations = new Map<string, number>();
  /** When refreshes failed with an unknown outcome, or with a time to wait: the pause that has to follow. */
  readonly pauses: {
    readonly by: Owner;
    readonly token: string;
    readonly from: number;
    readonly until: number;
  }[] = [];
  readonly brokenPauses: { readonly token: string; readonly at: number; readonly by: Owner }[] = [];
  readonly appTokenRequests: { readonly at: number; readonly by: Owner; readonly endAt: number }[] = [];
  appTokensNotBefore = 0;
  refreshCount = 0;
  /** Called when the provider receives its `count`th refresh request. */
  onRefresh: { readonly count: number; readonly run: () => void }[] = [];
  condition: ProviderCondition = { minMs: 5, maxMs: 50, faultShare: 0, fault: 'error' };
  onEvent: (text: string) => void = () => {};
  #nextGrant = 1;
  #nextLogin = 1;
  #nextAppToken = 1;

  constructor(
    private readonly time: VirtualTime,
    private readonly random: Random,
    private readonly options: ProviderOptions,
  ) {}

  createGrant(user: string): Grant {
    const grant: Grant = { id: this.#nextGrant, user, isRevoked: false, revokedBy: undefined };
    this.#nextGrant += 1;
    return grant;
  }

  /** Tokens of a new login; a user's logins in one browser share a grant. */
  login(grant: Grant): RefreshToken {
    const login = this.#nextLogin;
    this.#nextLogin += 1;
    return this.#issue(grant, login, 1);
  }

  /** Whether an API accepts this access token, apart from its lifetime. */
  isActive(refreshToken: RefreshToken): boolean {
    return !refreshToken.isRevoked && !refreshToken.grant.isRevoked;
  }

  /** `fetch` of one process. */
  fetchFor(owner: Owner): typeof globalThis.fetch {
    return ((url: string, options: { body?: unknown; signal?: AbortSignal }) => {
      const body = new URLSearchParams(String(options.body ?? ''));
      return this.#request(owner, String(url), body, options.signal ?? undefined);
    }) as typeof globalThis.fetch;
  }

  #request(owner: Owner, url: string, body: URLSearchParams, signal?: AbortSignal): Promise<Response> {
    const { time, random, condition } = this;
    const sentAt = time.nowMs;
    if (body.get('grant_type') === 'refresh_token') this.#countRefresh();
    const durationMs = random.between(condition.minMs, condition.maxMs);
    const fault = random.chance(condition.faultShare) ? condition.fault : undefined;
    return new Promise((resolve, reject) => {
      const fail = (code: string) =>
        reject(
          Object.assign(new TypeError('fetch failed'), { cause: Object.assign(new Error(code), { code }) }),
        );
      const later = (delayMs: number, run: () => void) => time.schedule(delayMs, run, owner);
      const used: { use: Use | undefined } = { use: undefined };
      const markFailed = () => {
        if (used.use && used.use.deliveredAt === undefined) used.use.failedAt ??= time.nowMs;
      };
      signal?.addEventListener('abort', () => {
        markFailed();
        reject(signal.reason);
      });
      if (fault === 'refused') return later(1, () => fail('ECONNREFUSED'));
      if (fault === 'busy') {
        this.#pause(owner, body, sentAt, durationMs, 2_000);
        if (body.get('grant_type') === 'client_credentials')
          this.appTokensNotBefore = sentAt + durationMs + 2_000;
        const headers = { 'retry-after': '2' };
        return later(durationMs, () => resolve(new Response('busy', { status: 503, headers })));
      }
      if (fault === 'error' && random.chance(0.5)) {
        this.#pause(owner, body, sentAt, durationMs, 3_000);
        return later(durationMs, () => resolve(new Response('error', { status: 500 })));
      }
      // The provider processes the request at some moment of the duration, whoever still waits for the response.
      const processedAfterMs = durationMs * (condition.processedAt ?? random.between(0.1, 1));
      time.schedule(
        processedAfterMs,
        () => {
          const { response, use } = this.#process(owner, url, body, sentAt);
          used.use = use;
          if (signal?.aborted) markFailed();
          const leftMs = durationMs - processedAfterMs;
          if (fault === 'hangs') return;
          later(leftMs, () => {
            if (fault === 'answer_lost' || fault === 'error') {
              this.#pause(owner, body, sentAt, durationMs, 3_000);
              markFailed();
              return fail('ECONNRESET');
            }
            if (use && !signal?.aborted) use.deliveredAt = time.nowMs;
            resolve(response);
          });
        },
        network,
      );
    });
  }

  #countRefresh(): void {
    this.refreshCount += 1;
    for (const { count, run } of this.onRefresh) if (count === this.refreshCount) run();
  }

  #pause(by: Owner, body: URLSearchParams, sentAt: number, durationMs: number, pauseMs: number): void {
    const token = body.get('refresh_token');
    const from = sentAt + durationMs;
    if (token !== null) this.pauses.push({ by, token, from, until: from + pauseMs });
  }

  #process(
    by: Owner,
    url: string,
    body: URLSearchParams,
    sentAt: number,
  ): { readonly response: Response; readonly use?: Use | undefined } {
    if (url.endsWith('/revoke')) return { response: this.#revoke(String(body.get('token'))) };
    if (body.get('grant_type') === 'client_credentials') {
      this.appTokenRequests.push({ at: sentAt, by, endAt: this.time.nowMs });
      const accessToken = `app-${this.#nextAppToken}`;
      this.#nextAppToken += 1;
      return { response: json(200, this.#tokenResponse(accessToken)) };
    }
    return this.#refresh(by, String(body.get('refresh_token')), sentAt);
  }

  #refresh(
    by: Owner,
    value: string,
    sentAt: number,
  ): { readonly response: Response; readonly use?: Use | undefined } {
    const token = this.refreshTokens.get(value);
    const now = this.time.nowMs;
    if (
      this.pauses.some(
        (each) =>
          !each.by.isDead && each.token === value && each.from + 100 < sentAt && sentAt < each.until - 100,
      )
    )
      this.brokenPauses.push({ token: value, at: sentAt, by });
    if (!token || token.isRevoked || token.grant.isRevoked) {
      this.onEvent(`provider: ${value} from ${by.name}: invalid_grant (revoked)`);
      return { response: json(400, { error: 'invalid_grant' }) };
    }
    if (token.used) {
      this.secondUses.push({ token, first: token.used, by, at: sentAt });
      if (now - token.used.grantedAt > this.options.graceMs) {
        this.onEvent(`provider: ${value} from ${by.name}: used a second time, grant revoked`);
        token.grant.isRevoked = true;
        token.grant.revokedBy ??= 'reuse';
        return { response: json(400, { error: 'invalid_grant' }) };
      }
    }
    const next = this.#issue(token.grant, token.login, token.generation + 1);
    const use: Use = { by, sentAt, grantedAt: now, next, deliveredAt: undefined, failedAt: undefined };
    token.used ??= use;
    this.uses.push(use);
    this.onEvent(`provider: ${value} from ${by.name}: granted ${next.value}`);
    return {
      response: json(200, { ...this.#tokenResponse(next.accessToken), refresh_token: next.value }),
      use,
    };
  }

  #revoke(value: string): Response {
    this.revocations.set(value, (this.revocations.get(value) ?? 0) + 1);
    const token = [...this.refreshTokens.values()].find(
      (each) => each.value === value || each.accessToken === value,
    );
    this.onEvent(`provider: ${value} revoked`);
    if (!token) return new Response(null, { status: 200 });
    if (this.options.revokes === 'grant') {
      token.grant.isRevoked = true;
      token.grant.revokedBy ??= 'revocation';
    } else if (token.value === value) token.isRevoked = true;
    return new Response(null, { status: 200 });
  }

  #issue(grant: Grant, login: number, generation: number): RefreshToken {
    const name = `${login}.${this.refreshTokens.size + 1}`;
    const token: RefreshToken = {
      ...{ value: `rt-${name}`, accessToken: `at-${name}`, grant, generation, login },
      isRevoked: false,
      used: undefined,
    };
    this.refreshTokens.set(token.value, token);
    return token;
  }

  #tokenResponse(accessToken: string): Record<string, unknown> {
    return { access_token: accessToken, token_type: 'Bearer', expires_in: this.options.accessTokenSeconds };
  }
}

function json(status: number, body: unknown): Response {
  return new Response(JSON.stringify(body), { status, headers: { 'content-type': 'application/json' } });
}
