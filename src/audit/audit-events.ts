/** Failures of a request to the authorization server; see `OAuthErrorKind`. */
export const providerFailures = [
  'invalid_grant',
  'client_misconfigured',
  'rejected_other',
  'denied',
  'authorization',
  'invalid_response',
  'unavailable',
  'outcome_unknown',
] as const;

interface AuditEventType {
  /** The values of the Elastic Common Schema; `unknown` if an action has started and has no result yet. */
  readonly outcome: 'success' | 'failure' | 'unknown';
  /** The values of `reason`; empty for events without a reason. */
  readonly reasons: readonly string[];
}

/** Every event of the audit log. `docs/audit-log.md` explains them. Their names must not change between versions. */
export const auditEvents = {
  login_started: { outcome: 'unknown', reasons: [] },
  login_succeeded: { outcome: 'success', reasons: [] },
  login_failed: {
    outcome: 'failure',
    reasons: [
      ...providerFailures,
      'invalid_state',
      'state_expired',
      'state_used',
      'state_of_other_browser',
      'incomplete_response',
      'signed_out',
      'not_allowed',
      'store_unavailable',
      'internal_error',
    ],
  },
  step_up_requested: { outcome: 'unknown', reasons: [] },
  step_up_granted: { outcome: 'success', reasons: [] },
  step_up_declined: { outcome: 'failure', reasons: ['scope', ...providerFailures] },
  token_refreshed: { outcome: 'success', reasons: [] },
  token_refresh_deferred: { outcome: 'failure', reasons: providerFailures },
  token_refresh_rejected: { outcome: 'failure', reasons: providerFailures },
  signed_out: { outcome: 'success', reasons: [] },
  session_ended: {
    outcome: 'success',
    reasons: [
      'signed_out',
      'ended_by_user',
      'ended_by_administrator',
      'ended_by_provider',
      'ended_by_limit',
      'replaced',
      'refresh_rejected',
      'expired',
      'login_incomplete',
    ],
  },
  revocation_done: { outcome: 'success', reasons: ['access_token', 'refresh_token'] },
  revocation_abandoned: { outcome: 'failure', reasons: [...providerFailures, 'queue_unavailable'] },
  app_token_obtained: { outcome: 'success', reasons: [] },
  app_token_failed: { outcome: 'failure', reasons: providerFailures },
  request_rejected: {
    outcome: 'failure',
    reasons: [
      'cross_site_request',
      'forbidden_destination',
      'misdirected_request',
      'session_changed',
      'insufficient_scope',
      'insufficient_claims',
      'insufficient_user_authentication',
      'too_many_requests',
    ],
  },
} as const satisfies Readonly<Record<string, AuditEventType>>;

export type AuditEvent = keyof typeof auditEvents;
export type AuditReason<E extends AuditEvent> = (typeof auditEvents)[E]['reasons'][number];

/** The names of the fields of every line, in their order. */
export const auditFields = [
  'time',
  'event',
  'outcome',
  'reason',
  'subject',
  'session',
  'client',
  'issuer',
  'address',
  'user_agent',
  'request_id',
  'count',
] as const;

export type AuditLine = { readonly [K in (typeof auditFields)[number]]: string | number | null };

/** Writes lines to the destination in `AUDIT_LOG`. */
export interface AuditDestination {
  write(line: AuditLine): void;
  reopen(): void;
  close(): Promise<void>;
}
