import type { Metrics } from '../metrics/metrics.ts';
import type { CounterSeries, HistogramSeries } from '../metrics/series.ts';
import type { OAuthClient } from '../oauth/oauth-client.ts';
import { OAuthError, type OAuthErrorKind } from '../oauth/oauth-error.ts';
import { type Attributes, withSpan } from '../tracing.ts';

/** `not_sent`: the session has ended or the store has failed before anything was sent. */
type Outcome = 'success' | 'not_sent' | OAuthErrorKind;

const outcomes: Readonly<Record<Outcome, true>> = {
  success: true,
  not_sent: true,
  unavailable: true,
  outcome_unknown: true,
  invalid_grant: true,
  denied: true,
  authorization: true,
  rejected_other: true,
  invalid_response: true,
  client_misconfigured: true,
};

/** `oauth`, with a metric and a trace span for each operation at the provider. `store` counts the logins that succeed. */
export function measureOAuthClient(oauth: OAuthClient, metrics: Metrics): OAuthClient {
  const loginsStarted = metrics.loginsStarted({});

  function createMeasure(operation: string, count?: (labels: { outcome: string }) => CounterSeries) {
    // All of them from the start: the rate of a counter that begins at 1 has no first increase.
    if (count) for (const outcome of Object.keys(outcomes)) count({ outcome });
    const seconds = new Map<Outcome, HistogramSeries>();
    const attributes: Attributes = { 'oauth.operation': operation };

    function record(outcome: Outcome, startedAt: number): void {
      const series = seconds.get(outcome) ?? metrics.providerRequestSeconds({ operation, outcome });
      seconds.set(outcome, series);
      series.observe((performance.now() - startedAt) / 1000);
      count?.({ outcome }).increment();
    }

    return function measure<T>(work: () => Promise<T>): Promise<T> {
      return withSpan(`oauth ${operation}`, 'client', attributes, async () => {
        const startedAt = performance.now();
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

  function countFailedLogin({ outcome }: { outcome: string }): CounterSeries {
    return outcome === 'success' ? { increment() {} } : metrics.logins({ outcome });
  }

  const measureCode = createMeasure('authorization_code', countFailedLogin);
  const measureRefresh = createMeasure('refresh_token', metrics.refreshes);
  const measureAppToken = createMeasure('client_credentials', metrics.appTokens);
  const measureRevocation = createMeasure('revocation', metrics.revocations);

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
