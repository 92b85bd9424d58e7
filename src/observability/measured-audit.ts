import { auditEvents } from '../audit/audit-events.ts';
import type { AuditLog } from '../audit/audit-log.ts';
import type { Metrics } from '../metrics/metrics.ts';

const { reasons } = auditEvents.session_ended;

/** `audit`, which also counts the sessions that end, by the reason in the audit log. */
export function measureAudit(audit: AuditLog, { sessionsEnded }: Pick<Metrics, 'sessionsEnded'>): AuditLog {
  for (const reason of reasons) sessionsEnded({ reason }); // a series that first appears with 1 shows no increase
  return {
    ...audit,
    record(event, facts) {
      if (event === 'session_ended' && 'reason' in facts)
        sessionsEnded({ reason: String(facts.reason) }).increment();
      audit.record(event, facts);
    },
  };
}
