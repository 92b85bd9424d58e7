import type { Logger } from '../logger.ts';
import type { SessionEndEvents } from '../tokens/session-end-events.ts';

/** A message that went missing costs no more than this. */
const maxCheckIntervalMs = 30_000;
const retryWhenStoreDownMs = 2_000;
const maxConcurrentChecks = 16;

/** Why a stream is ended that would go on by itself: its person's session, or this process, is over. */
export type CloseReason = 'session_ended' | 'shutdown';

type CloseStream = (reason: CloseReason) => void;

/** Streams that are open now, each bound to the session it was opened in. */
export interface OpenStreams {
  /**
   * `end` is called once when the session sessionEndEvents, on whichever instance: within a second of a logout, at its idle or
   * absolute end (an open stream is no use of the session), and at shutdown; streams of no session end at shutdown only.
   * @returns to be called when the stream is over by itself
   */
  open(id: string | undefined, end: CloseStream): () => void;
  /** Ends every stream, and from now on each new one at once. */
  closeAll(): void;
}

interface OpenStreamsParts {
  readonly sessionEndEvents: Pick<SessionEndEvents, 'listen'>;
  /** As of the token store: when a session sessionEndEvents unless it is used. */
  readonly endsAt: (id: string) => Promise<number | undefined>;
  readonly now: () => number;
  readonly log: Logger;
}

interface SessionEntry {
  readonly streams: Set<{ readonly end: CloseStream }>;
  timer?: NodeJS.Timeout;
}

export function createOpenStreams({ sessionEndEvents, endsAt, now, log }: OpenStreamsParts): OpenStreams {
  const sessions = new Map<string | undefined, SessionEntry>();
  let isClosed = false;

  function closeSession(id: string | undefined, reason: CloseReason): void {
    const open = sessions.get(id);
    if (!open) return;
    sessions.delete(id);
    clearTimeout(open.timer);
    for (const { end } of open.streams) closeOne(end, reason);
  }

  function closeOne(end: CloseStream, reason: CloseReason): void {
    try {
      end(reason);
    } catch (error) {
      log.error({ err: error }, 'a stream could not be ended'); // the others still are
    }
  }

  /** Asks the store, and looks again when the session would end: it may have been used by then. */
  async function checkSession(id: string): Promise<void> {
    const open = sessions.get(id);
    if (!open) return;
    const waitMs = await endsAt(id).then(
      (at) => (at === undefined ? 0 : Math.min(at - now(), maxCheckIntervalMs)),
      () => retryWhenStoreDownMs, // that the store is away means nothing about the session
    );
    if (sessions.get(id) !== open) return;
    if (waitMs <= 0) return closeSession(id, 'session_ended');
    clearTimeout(open.timer);
    open.timer = setTimeout(() => void checkSession(id), waitMs).unref();
  }

  async function checkAllSessions(): Promise<void> {
    const ids = [...sessions.keys()].filter((id) => id !== undefined);
    const checkNext = async () => {
      for (let id = ids.pop(); id !== undefined; id = ids.pop()) await checkSession(id);
    };
    await Promise.all(Array.from({ length: maxConcurrentChecks }, checkNext));
  }

  sessionEndEvents.listen(
    (id) => closeSession(id, 'session_ended'),
    () => void checkAllSessions(),
  );

  return {
    open(id, end) {
      const stream = { end };
      if (isClosed) {
        queueMicrotask(() => closeOne(end, 'shutdown'));
        return () => {};
      }
      const open = sessions.get(id) ?? { streams: new Set() };
      open.streams.add(stream);
      if (!sessions.has(id)) {
        sessions.set(id, open);
        if (id !== undefined) void checkSession(id); // it may have ended while the stream was being opened
      }
      return function forget() {
        open.streams.delete(stream);
        if (open.streams.size > 0 || sessions.get(id) !== open) return;
        clearTimeout(open.timer);
        sessions.delete(id);
      };
    },

    closeAll() {
      isClosed = true;
      for (const id of [...sessions.keys()]) closeSession(id, 'shutdown');
    },
  };
}
