import { createHash, createHmac } from 'node:crypto';
import { ipKeyGenerator } from 'express-rate-limit';
import type { Config } from '../config/load.ts';
import { deriveKeys } from '../crypto/sealing.ts';
import { createSessionTags } from '../crypto/session-tag.ts';
import type { Logger } from '../logger.ts';
import { currentRequest } from '../request-context.ts';
import { openStandardOutput } from '../standard-output.ts';
import {
  type AuditDestination,
  type AuditEvent,
  type AuditLine,
  type AuditReason,
  auditEvents,
} from './audit-events.ts';
import { openAuditFile } from './audit-file.ts';
import { createFloodGuard, type EventKey } from './audit-flood.ts';

/**
 * What the caller of `record` knows; the client's address, the user agent and the request id come from the current
 * request.
 */
export type AuditFacts<E extends AuditEvent> = {
  readonly sessionId?: string | undefined;
  readonly sub?: string | undefined;
} & ([AuditReason<E>] extends [never] ? unknown : { readonly reason: AuditReason<E> });

/** The part of the audit log that most of the code uses. */
export type Audit = Pick<AuditLog, 'record' | 'tagFor'>;

/** The log of security events (`docs/audit-log.md`). */
export interface AuditLog {
  /** Writes one line. Never throws and never waits. */
  record<E extends AuditEvent>(event: E, facts: AuditFacts<E>): void;
  /** The session tag: it stands for the session `id` in the audit log and in the log. */
  tagFor(id: string): string;
  /** The same audit log, for events of another client registration. */
  forClient(client: AuditClient): AuditLog;
  /** Opens the path in `AUDIT_LOG` again, after the file was renamed. Without a file, does nothing. */
  reopen(): void;
  /** Resolves when every line is written. */
  close(): Promise<void>;
}

/** A client registration; without an issuer, the token endpoint identifies the authorization server. */
export type AuditClient = Pick<Config['provider'], 'clientId' | 'issuer'> & {
  readonly endpoints: { readonly token_endpoint: string | undefined };
};

type AuditConfig = Pick<Config, 'audit' | 'session' | 'provider'>;

type LineFacts = { readonly reason: EventKey['reason'] } & Partial<Omit<AuditLine, 'reason'>>;

const maxTextLength = 256;
/** Characters that a terminal or a log viewer interprets or does not show, and unpaired surrogates. */
const invisibleCharacters = /[\p{C}\u2028\u2029]/gu;

/** The audit log in `AUDIT_LOG`. Lines that cannot be written there are written to `log`. */
export function createAuditLog(
  config: AuditConfig,
  { now, log }: { readonly now: () => number; readonly log: Logger },
): AuditLog {
  const destination = openDestination(config.audit.destination, log);
  return createAuditLogFor(config.provider, config, { destination, now, flushes: [] });
}

interface SharedParts {
  readonly destination: AuditDestination;
  readonly now: () => number;
  /** Write the summary lines of all flood guards. */
  readonly flushes: (() => void)[];
}

function createAuditLogFor(client: AuditClient, config: AuditConfig, shared: SharedParts): AuditLog {
  const { destination, now, flushes } = shared;
  const tags = createSessionTags(config.session);
  const formatSubject = createSubjectFormat(config);
  // Separate, so that callers without a session cannot use up the limit for the events of users.
  const flood = {
    users: createFloodGuard(({ event, reason, source: subject }, count) =>
      write(event, { reason, count, subject: subject || null }),
    ),
    strangers: createFloodGuard(({ event, reason, source: address }, count) =>
      write(event, { reason, count, address: address || null }),
    ),
  };
  flushes.push(flood.users.flush, flood.strangers.flush);

  function write(event: AuditEvent, facts: LineFacts): void {
    destination.write({
      time: new Date(now()).toISOString(),
      event,
      outcome: auditEvents[event].outcome,
      reason: facts.reason ?? null,
      subject: facts.subject ?? null,
      session: facts.session ?? null,
      client: client.clientId,
      issuer: client.issuer?.href ?? client.endpoints.token_endpoint ?? null,
      address: facts.address ?? null,
      user_agent: facts.user_agent ?? null,
      request_id: facts.request_id ?? null,
      count: facts.count ?? 1,
    });
  }

  return {
    record(event, facts: AuditFacts<AuditEvent> & { readonly reason?: EventKey['reason'] }) {
      const request = currentRequest();
      const { sessionId, sub, reason } = facts;
      const subject = sub === undefined ? undefined : formatSubject(sub);
      if (auditEvents[event].outcome !== 'success') {
        const isAdmitted =
          subject === undefined
            ? flood.strangers.admit({ event, reason, source: networkOf(request?.address) })
            : flood.users.admit({ event, reason, source: subject });
        if (!isAdmitted) return;
      }
      write(event, {
        reason,
        ...(subject !== undefined && { subject }),
        ...(sessionId !== undefined && { session: tags.tagFor(sessionId) }),
        ...(request && {
          address: printable(request.address),
          user_agent: printable(request.userAgent),
          request_id: request.requestId,
        }),
      });
    },

    tagFor: tags.tagFor,
    forClient: (other) => createAuditLogFor(other, config, shared),
    reopen: () => destination.reopen(),

    close() {
      for (const flush of flushes) flush();
      return destination.close();
    },
  };
}

function openDestination(destination: Config['audit']['destination'], log: Logger): AuditDestination {
  const unbuffered = { reopen() {}, close: async () => {} };
  if (typeof destination === 'object') return openAuditFile(destination.file, log);
  if (destination === 'none') return { ...unbuffered, write() {} };
  if (destination === 'stdout') {
    const output = openStandardOutput();
    return { ...unbuffered, write: (line) => void output.write(`${JSON.stringify(line)}\n`, 'audit') };
  }
  const audit = log.child({}, { level: 'info' }); // whatever LOG_LEVEL is
  return { ...unbuffered, write: ({ time: _, ...line }) => audit.info(line, 'audit') };
}

/** Returns the `subject` for a `sub`, in the form that `AUDIT_SUBJECT` sets. */
function createSubjectFormat({ audit, session }: AuditConfig): (sub: string) => string | undefined {
  if (audit.subject === 'none') return () => undefined;
  const [key] = deriveKeys(session, 'audit_subject');
  if (audit.subject === 'hashed')
    return (sub) => createHmac('sha256', key!).update(sub).digest('base64url').slice(0, 22);
  // Hashed instead of shortened or cleaned, because two users could then have the same subject.
  return (sub) =>
    sub.length > maxTextLength || sub.search(invisibleCharacters) !== -1
      ? `sha256:${createHash('sha256').update(sub).digest('base64url')}`
      : sub;
}

/** Text that a client sent, shortened, without characters that could forge lines or control a terminal. */
function printable(text: string | undefined): string | null {
  return text?.slice(0, maxTextLength).replace(invisibleCharacters, '\uFFFD') ?? null;
}

function networkOf(address: string | undefined): string {
  return address === undefined ? 'unknown' : ipKeyGenerator(address);
}
