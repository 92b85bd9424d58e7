import type { Audit } from '../../src/audit/audit-log.ts';

/** For tests of parts that write to the audit log. */
export const silentAudit: Audit = { record() {}, tagFor: () => 'a-tag' };
