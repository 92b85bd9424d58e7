import type { AuditEvent, AuditReason } from './audit-events.ts';

/** Events with the same key share a limit, and a summary line when they exceed it. */
export interface EventKey<E extends AuditEvent = AuditEvent> {
  readonly event: E;
  readonly reason: AuditReason<E> | undefined;
  /** The user, or the network of the client. */
  readonly source: string;
}

interface Window {
  readonly key: EventKey;
  lines: number;
  omitted: number;
}

/** The maximum number of lines per minute for one key, and for all keys together. */
const maxLinesPerKey = 60;
const maxLines = 3_000;
/**
 * How many keys are counted separately in one minute. Further users and networks share one key per event and reason.
 */
const maxKeys = 1_000;
const windowMs = 60_000;

/**
 * Limits how many lines per minute callers can cause in the audit log. `admit(key)` returns false when the limit for
 * this minute is reached. At the end of the minute, `onOmitted` is called for each key with omitted events, and gets
 * their number.
 */
export function createFloodGuard(onOmitted: (key: EventKey, count: number) => void) {
  const windows = new Map<string, Window>();
  let lines = 0;
  let timer: NodeJS.Timeout | undefined;

  function flush(): void {
    clearTimeout(timer);
    timer = undefined;
    const ended = [...windows.values()];
    windows.clear();
    lines = 0;
    for (const { key, omitted } of ended) if (omitted > 0) onOmitted(key, omitted);
  }

  function windowOf(key: EventKey): Window {
    const id = JSON.stringify([key.event, key.reason, key.source]);
    const known = windows.get(id);
    if (known) return known;
    const isFull = windows.size >= maxKeys && key.source !== '';
    if (isFull) return windowOf({ ...key, source: '' });
    const created = { key, lines: 0, omitted: 0 };
    windows.set(id, created);
    return created;
  }

  return {
    flush,

    admit(key: EventKey): boolean {
      timer ??= setTimeout(flush, windowMs).unref();
      const window = windowOf(key);
      if (window.lines < maxLinesPerKey && lines < maxLines) {
        window.lines += 1;
        lines += 1;
        return true;
      }
      window.omitted += 1;
      return false;
    },
  };
}
