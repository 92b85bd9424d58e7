import type { Logger } from '../logger.ts';
import { createMetrics, type Metrics } from '../metrics/metrics.ts';
import type { SessionEndEvents } from '../tokens/session-end-events.ts';
import type { EndedBy } from '../tokens/token-store.ts';
import { createStreamCounters, type StreamCounters, type StreamLimits } from './stream-limits.ts';

/** Upper bound for noticing a session end when its event was lost. */
const maxCheckIntervalMs = 30_000;
const retryWhenStoreDownMs = 2_000;
const maxConcurrentChecks = 16;

/** Why Latchkey closes a stream: its session ended, or this process is shutting down. */
export type CloseReason = 'session_ended' | 'shutdown';

/** @param by who has ended the session from elsewhere, if that is known */
export type CloseStream = (reason: CloseReason, by?: EndedBy) => void;

/** `OpenStreams.register` for the session of one request. */
export type RegisterStream = (close: CloseStream) => () => void;

/** The open streams of this process, each with the session in which it was opened. */
export interface OpenStreams extends StreamCounters {
  /**
   * `close` is called once: within a second of a logout on any instance, when the session reaches its idle or absolute
   * limit (an open stream does not count as use), or at shutdown. A stream without a session closes only at shutdown.
   * @returns a function to call when the stream has ended for another reason
   */
  register(sessionId: string | undefined, close: CloseStream): () => void;
  /** Closes every stream, and every stream that is registered later. */
  closeAll(): void;
}

interface OpenStreamsParts {
  readonly sessionEndEvents: Pick<SessionEndEvents, 'listen'>;
  /** As `TokenStore.endsAt`. */
  readonly endsAt: (sessionId: string) => Promise<number | undefined>;
  readonly now: () => number;
  readonly log: Logger;
  readonly limits: StreamLimits;
  readonly metrics?: Pick<Metrics, 'openStreams' | 'limitRejections'>;
}

interface SessionEntry {
  readonly streams: Set<{ readonly close: CloseStream }>;
  timer?: NodeJS.Timeout;
}

/** The registry of open streams; it listens for session-end events from now on. */
export function createOpenStreams({
  sessionEndEvents,
  endsAt,
  now,
  log,
  limits,
  metrics = createMetrics(),
}: OpenStreamsParts): OpenStreams {
  const sessions = new Map<string | undefined, SessionEntry>();
  let isClosed = false;

  function closeSession(id: string | undefined, reason: CloseReason, by?: EndedBy): void {
    const entry = sessions.get(id);
    if (!entry) return;
    sessions.delete(id);
    clearTimeout(entry.timer);
    for (const { close } of entry.streams) closeStream(close, reason, by);
  }

  function closeStream(close: CloseStream, reason: CloseReason, by?: EndedBy): void {
    try {
      close(reason, by);
    } catch (error) {
      log.error({ err: error }, 'failed to close a stream'); // the other streams still have to be closed
    }
  }

  /** Checks the session in the store, and again when it would expire: it may have been used in the meantime. */
  async function checkSession(id: string): Promise<void> {
    const entry = sessions.get(id);
    if (!entry) return;
    const waitMs = await endsAt(id).then(
      (at) => (at === undefined ? 0 : Math.min(at - now(), maxCheckIntervalMs)),
      () => retryWhenStoreDownMs, // an unavailable store says nothing about the session
    );
    if (sessions.get(id) !== entry) return;
    if (waitMs <= 0) return closeSession(id, 'session_ended');
    clearTimeout(entry.timer);
    entry.timer = setTimeout(() => void checkSession(id), waitMs).unref();
  }

  async function checkAllSessions(): Promise<void> {
    const ids = [...sessions.keys()].filter((id) => id !== undefined);
    const checkNext = async () => {
      for (let id = ids.pop(); id !== undefined; id = ids.pop()) await checkSession(id);
    };
    await Promise.all(Array.from({ length: maxConcurrentChecks }, checkNext));
  }

  sessionEndEvents.listen(
    (id, by) => closeSession(id, 'session_ended', by),
    () => void checkAllSessions(),
  );

  return {
    ...createStreamCounters(limits, metrics),

    register(sessionId, close) {
      const stream = { close };
      if (isClosed) {
        queueMicrotask(() => closeStream(close, 'shutdown'));
        return () => {};
      }
      const entry = sessions.get(sessionId) ?? { streams: new Set() };
      entry.streams.add(stream);
      if (!sessions.has(sessionId)) {
        sessions.set(sessionId, entry);
        if (sessionId !== undefined) void checkSession(sessionId); // it may have ended while the stream was opened
      }
      return function unregister() {
        entry.streams.delete(stream);
        if (entry.streams.size > 0 || sessions.get(sessionId) !== entry) return;
        clearTimeout(entry.timer);
        sessions.delete(sessionId);
      };
    },

    closeAll() {
      isClosed = true;
      for (const id of [...sessions.keys()]) closeSession(id, 'shutdown');
    },
  };
}
