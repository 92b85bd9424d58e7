import { isIP } from 'node:net';
import { ipKeyGenerator } from 'express-rate-limit';
import type { Limits } from '../config/limit-fields.ts';
import { AppError } from '../errors.ts';
import type { Logger } from '../logger.ts';
import type { SessionEndEvents } from '../tokens/session-end-events.ts';

/** Upper bound for noticing a session end when its event was lost. */
const maxCheckIntervalMs = 30_000;
const retryWhenStoreDownMs = 2_000;
const maxConcurrentChecks = 16;
const retryAfterSeconds = 10;

/** Why Latchkey closes a stream: its session ended, or this process is shutting down. */
export type CloseReason = 'session_ended' | 'shutdown';

export type CloseStream = (reason: CloseReason) => void;

/** `OpenStreams.register` for the session of one request. */
export type RegisterStream = (close: CloseStream) => () => void;

/** For whom a stream is opened. */
export interface StreamOwner {
  readonly sessionId: string | undefined;
  /** The `sub` of the user, in whose sessions streams count together. */
  readonly userId: string | undefined;
  /** The address of the client, as forwarded by trusted proxies. */
  readonly address: string | undefined;
}

export type StreamLimits = Pick<
  Limits,
  'streams' | 'streamsPerAddress' | 'streamsPerUser' | 'streamsPerSession'
>;

/** The open streams of this process, each with the session in which it was opened. */
export interface OpenStreams {
  /**
   * Counts a stream that is to be opened, before the API is called.
   * @returns a function to call when the stream has ended; calling it twice has no effect
   * @throws AppError `too_many_requests` with the name of the setting whose limit is reached
   */
  reserve(owner: StreamOwner): () => void;
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
}: OpenStreamsParts): OpenStreams {
  const sessions = new Map<string | undefined, SessionEntry>();
  let isClosed = false;

  function closeSession(id: string | undefined, reason: CloseReason): void {
    const entry = sessions.get(id);
    if (!entry) return;
    sessions.delete(id);
    clearTimeout(entry.timer);
    for (const { close } of entry.streams) closeStream(close, reason);
  }

  function closeStream(close: CloseStream, reason: CloseReason): void {
    try {
      close(reason);
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
    (id) => closeSession(id, 'session_ended'),
    () => void checkAllSessions(),
  );

  return {
    reserve: createStreamCounter(limits),

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

function createStreamCounter(limits: StreamLimits): OpenStreams['reserve'] {
  const counts = new Map<string, number>();
  const add = (key: string, difference: 1 | -1) => {
    const count = (counts.get(key) ?? 0) + difference;
    if (count === 0) counts.delete(key);
    else counts.set(key, count);
  };

  return function reserve({ sessionId, userId, address }) {
    const counted: readonly (readonly [setting: string, limit: number, key: string])[] = [
      ...(sessionId === undefined
        ? []
        : [['MAX_STREAMS_PER_SESSION', limits.streamsPerSession, `session ${sessionId}`] as const]),
      ...(userId === undefined
        ? []
        : [['MAX_STREAMS_PER_USER', limits.streamsPerUser, `user ${userId}`] as const]),
      ['MAX_STREAMS_PER_ADDRESS', limits.streamsPerAddress, `address ${networkOf(address)}`],
      ['MAX_STREAMS', limits.streams, 'all'],
    ];
    for (const [setting, limit, key] of counted)
      if (limit > 0 && (counts.get(key) ?? 0) >= limit)
        throw new AppError('too_many_requests', {
          limit: setting,
          retryAfterSeconds,
          cause: new Error(`limit of open streams reached: ${setting}`),
        });
    for (const [, , key] of counted) add(key, 1);
    let isOpen = true;
    return function release() {
      if (isOpen) for (const [, , key] of counted) add(key, -1);
      isOpen = false;
    };
  };
}

/** The address without a port, or the /56 network of an IPv6 address. All that is no address counts as one. */
function networkOf(address = ''): string {
  const host = /^\[(.*)\](?::\d+)?$/.exec(address)?.[1] ?? address.replace(/^([\d.]+):\d+$/, '$1');
  return isIP(host) === 0 ? 'unknown' : ipKeyGenerator(host);
}
