import type { Logger } from '../logger.ts';
import type { SessionEnds } from '../tokens/session-ends.ts';

/** A message that went missing costs no more than this. */
const longestMs = 30_000;
const whileUnknownMs = 2_000;
const looksAtOnce = 16;

/** Why a stream is ended that would go on by itself: its person's session, or this process, is over. */
export type StreamEnd = 'session_ended' | 'shutdown';

type End = (why: StreamEnd) => void;

/** Streams that are open now, each bound to the session it was opened in. */
export interface SessionStreams {
  /**
   * `end` is called once when the session ends, on whichever instance: within a second of a logout, at its idle or
   * absolute end (an open stream is no use of the session), and at shutdown; streams of no session end at shutdown only.
   * @returns to be called when the stream is over by itself
   */
  open(id: string | undefined, end: End): () => void;
  /** Ends every stream, and from now on each new one at once. */
  closeAll(): void;
}

interface SessionStreamsParts {
  readonly ends: Pick<SessionEnds, 'listen'>;
  /** As of the token store: when a session ends unless it is used. */
  readonly endsAt: (id: string) => Promise<number | undefined>;
  readonly now: () => number;
  readonly log: Logger;
}

interface Open {
  readonly streams: Set<{ readonly end: End }>;
  timer?: NodeJS.Timeout;
}

export function createSessionStreams({ ends, endsAt, now, log }: SessionStreamsParts): SessionStreams {
  const sessions = new Map<string | undefined, Open>();
  let isClosed = false;

  function endAll(id: string | undefined, why: StreamEnd): void {
    const open = sessions.get(id);
    if (!open) return;
    sessions.delete(id);
    clearTimeout(open.timer);
    for (const { end } of open.streams) endOne(end, why);
  }

  function endOne(end: End, why: StreamEnd): void {
    try {
      end(why);
    } catch (error) {
      log.error({ err: error }, 'a stream could not be ended'); // the others still are
    }
  }

  /** Asks the store, and looks again when the session would end: it may have been used by then. */
  async function look(id: string): Promise<void> {
    const open = sessions.get(id);
    if (!open) return;
    const waitMs = await endsAt(id).then(
      (at) => (at === undefined ? 0 : Math.min(at - now(), longestMs)),
      () => whileUnknownMs, // that the store is away means nothing about the session
    );
    if (sessions.get(id) !== open) return;
    if (waitMs <= 0) return endAll(id, 'session_ended');
    clearTimeout(open.timer);
    open.timer = setTimeout(() => void look(id), waitMs).unref();
  }

  async function lookAtAll(): Promise<void> {
    const ids = [...sessions.keys()].filter((id) => id !== undefined);
    const lookAtSome = async () => {
      for (let id = ids.pop(); id !== undefined; id = ids.pop()) await look(id);
    };
    await Promise.all(Array.from({ length: looksAtOnce }, lookAtSome));
  }

  ends.listen(
    (id) => endAll(id, 'session_ended'),
    () => void lookAtAll(),
  );

  return {
    open(id, end) {
      const stream = { end };
      if (isClosed) {
        queueMicrotask(() => endOne(end, 'shutdown'));
        return () => {};
      }
      const open = sessions.get(id) ?? { streams: new Set() };
      open.streams.add(stream);
      if (!sessions.has(id)) {
        sessions.set(id, open);
        if (id !== undefined) void look(id); // it may have ended while the stream was being opened
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
      for (const id of [...sessions.keys()]) endAll(id, 'shutdown');
    },
  };
}
