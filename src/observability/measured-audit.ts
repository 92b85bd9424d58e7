import { auditEvents } from '../audit/audit-events.ts';
import type { AuditLog } from '../audit/audit-log.ts';
import type { Metrics } from '../metrics/metrics.ts';

/** Not that of the command line, whose process has no metrics. */
const reasons = auditEvents.session_ended.reasons.filter((reason) => reason !== 'ended_by_administrator');

/** `audit`, which counts each session that ends under the reason that the audit log gives. */
export function measureAudit(audit: AuditLog, { sessionsEnded }: Pick<Metrics, 'sessionsEnded'>): AuditLog {
  for (const reason of reasons) sessionsEnded({ reason }); // from 0: the first end must be visible as an increase
  return {
    ...audit,
    record(event, facts) {
      if (event === 'session_ended' && 'reason' in facts)
        sessionsEnded({ reason: String(facts.reason) }).increment();
      audit.record(event, facts);
    },
  };
}
