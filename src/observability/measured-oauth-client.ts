import type { Metrics } from '../metrics/metrics.ts';
import type { CounterSeries, HistogramSeries } from '../metrics/series.ts';
import type { OAuthClient } from '../oauth/oauth-client.ts';
import { OAuthError, type OAuthErrorKind } from '../oauth/oauth-error.ts';
import { elapsedMs } from '../time/elapsed.ts';
import { type Attributes, withSpan } from '../tracing.ts';

/** `not_sent`: the session ended, or the store failed, before a request was sent. */
type Outcome = 'success' | 'not_sent' | OAuthErrorKind;

/** The outcomes that every request to the provider can have. */
const requestOutcomes: readonly Outcome[] = [
  ...(['success', 'unavailable', 'outcome_unknown', 'invalid_grant'] as const),
  ...(['rejected_other', 'client_misconfigured'] as const),
];
/** Not for revocations: their response has no content to check (RFC 7009 2.2). */
const tokenOutcomes: readonly Outcome[] = [...requestOutcomes, 'invalid_response'];
const refreshOutcomes: readonly Outcome[] = [...tokenOutcomes, 'not_sent'];

interface Counted {
  readonly count: (labels: { outcome: string }) => CounterSeries;
  /** Their series are created at startup, because a series that first appears with 1 shows no increase. */
  readonly outcomes: readonly string[];
}

/** `oauth`, with metrics and a trace span for each operation at the provider. */
export function measureOAuthClient(oauth: OAuthClient, metrics: Metrics): OAuthClient {
  const loginsStarted = metrics.loginsStarted({});

  function createMeasure(operation: string, counted?: Counted) {
    for (const outcome of counted?.outcomes ?? []) counted?.count({ outcome });
    const seconds = new Map<Outcome, HistogramSeries>();
    const attributes: Attributes = { 'oauth.operation': operation };

    function record(outcome: Outcome, startedAt: number): void {
      const series = seconds.get(outcome) ?? metrics.providerRequestSeconds({ operation, outcome });
      seconds.set(outcome, series);
      series.observe((elapsedMs() - startedAt) / 1000);
      counted?.count({ outcome }).increment();
    }

    return function measure<T>(work: () => Promise<T>): Promise<T> {
      return withSpan(`oauth ${operation}`, 'client', attributes, async () => {
        const startedAt = elapsedMs();
        try {
          const result = await work();
          record('success', startedAt);
          return result;
        } catch (error) {
          record(error instanceof OAuthError ? error.kind : 'not_sent', startedAt);
          throw error;
        }
      });
    };
  }

  const measureCode = createMeasure('authorization_code'); // `login-audit` counts logins, at their end
  const measureRefresh = createMeasure('refresh_token', {
    count: metrics.refreshes,
    outcomes: refreshOutcomes,
  });
  const measureAppToken = createMeasure('client_credentials', {
    count: metrics.appTokens,
    outcomes: tokenOutcomes,
  });
  const measureRevocation = createMeasure('revocation', {
    count: metrics.revocations,
    outcomes: requestOutcomes,
  });

  return {
    ...oauth,
    async createAuthorizationUrl(request) {
      const url = await oauth.createAuthorizationUrl(request);
      loginsStarted.increment();
      return url;
    },
    authorizationCodeGrant: (query, request) =>
      measureCode(() => oauth.authorizationCodeGrant(query, request)),
    refreshTokenGrant: (tokens, options) => measureRefresh(() => oauth.refreshTokenGrant(tokens, options)),
    clientCredentialsGrant: (scope) => measureAppToken(() => oauth.clientCredentialsGrant(scope)),
    revokeToken: (token, hint) => measureRevocation(() => oauth.revokeToken(token, hint)),
  };
}
