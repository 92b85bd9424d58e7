import type { Limits } from '../config/limit-fields.ts';
import { AppError } from '../errors.ts';
import type { Metrics } from '../metrics/metrics.ts';
import { networkOf } from '../middleware/client-address.ts';

const retryAfterSeconds = 10;
const streamSettings = [
  ...['MAX_STREAMS', 'MAX_STREAMS_PER_ADDRESS', 'MAX_STREAMS_PER_USER', 'MAX_STREAMS_PER_SESSION'],
  ...[
    'MAX_UPSTREAM_CONNECTIONS',
    'MAX_UPSTREAM_CONNECTIONS_PER_USER',
    'MAX_UPSTREAM_CONNECTIONS_PER_ADDRESS',
  ],
] as const;

/** For whom a stream or a connection is opened. */
export interface StreamOwner {
  readonly sessionId: string | undefined;
  /** The `sub` of the user, in whose sessions they count together. */
  readonly userId: string | undefined;
  /** The address of the client, as forwarded by trusted proxies. */
  readonly address: string | undefined;
}

export type StreamLimits = Pick<
  Limits,
  | 'streams'
  | 'streamsPerAddress'
  | 'streamsPerUser'
  | 'streamsPerSession'
  | 'upstreamConnections'
  | 'upstreamConnectionsPerUser'
  | 'upstreamConnectionsPerAddress'
>;

/** Counts what this process has open. */
export interface StreamCounters {
  /**
   * Counts a connection to the API at `origin`, before it is used: per user, else per session and address.
   * @returns a function to call once the connection is not used any more
   * @throws AppError `too_many_requests` (this caller) or `temporarily_unavailable` (all callers together), with the name
   * of the setting whose limit is reached
   */
  reserveConnection(origin: string, owner: StreamOwner): () => void;
  /**
   * Counts a stream that is to be opened, before the API is called.
   * @returns a function to call when the stream has ended; calling it twice has no effect
   * @throws AppError `too_many_requests` with the name of the setting whose limit is reached
   */
  reserve(owner: StreamOwner): () => void;
}

export function createStreamCounters(
  limits: StreamLimits,
  { openStreams, limitRejections }: Pick<Metrics, 'openStreams' | 'limitRejections'>,
): StreamCounters {
  const open = openStreams({});
  const countRefusal = (limit: string) => limitRejections({ limit }).increment();
  for (const limit of streamSettings) limitRejections({ limit }); // from 0: the first refusal must be visible as an increase
  open.set(0);
  let count = 0;
  const change = (by: 1 | -1) => {
    count += by;
    open.set(count);
  };
  return {
    reserve: createStreamCounter(limits, countRefusal, change),
    reserveConnection: createConnectionCounter(limits, countRefusal),
  };
}

/** A limit of what is open, and what counts together under it. */
type Counted = readonly [setting: string, limit: number, key: string];

/**
 * Counts what is open, each under several limits; 0 means no limit. The function returned throws what `createError` returns
 * for the first limit that is reached, and otherwise returns a function to call when the thing has closed.
 */
function createCounter(createError: (setting: string) => AppError) {
  const counts = new Map<string, number>();
  const add = (key: string, difference: 1 | -1) => {
    const count = (counts.get(key) ?? 0) + difference;
    if (count === 0) counts.delete(key);
    else counts.set(key, count);
  };

  return function reserve(counted: readonly Counted[]): () => void {
    const reached = counted.find(([, limit, key]) => limit > 0 && (counts.get(key) ?? 0) >= limit);
    if (reached) throw createError(reached[0]);
    for (const [, , key] of counted) add(key, 1);
    let isOpen = true;
    return function release() {
      if (isOpen) for (const [, , key] of counted) add(key, -1);
      isOpen = false;
    };
  };
}

function createStreamCounter(
  limits: StreamLimits,
  countRefusal: (limit: string) => void,
  change: (by: 1 | -1) => void,
): StreamCounters['reserve'] {
  const reserve = createCounter((limit) => {
    countRefusal(limit);
    const cause = new Error(`limit of open streams reached: ${limit}`);
    return new AppError('too_many_requests', { limit, retryAfterSeconds, cause });
  });
  return ({ sessionId, userId, address }) => {
    const perSession: Counted = ['MAX_STREAMS_PER_SESSION', limits.streamsPerSession, `session ${sessionId}`];
    const perUser: Counted = ['MAX_STREAMS_PER_USER', limits.streamsPerUser, `user ${userId}`];
    const release = reserve([
      ...(sessionId === undefined ? [] : [perSession]),
      ...(userId === undefined ? [] : [perUser]),
      ['MAX_STREAMS_PER_ADDRESS', limits.streamsPerAddress, `address ${networkOf(address)}`],
      ['MAX_STREAMS', limits.streams, 'all'],
    ]);
    change(1);
    let isOpen = true;
    return function releaseStream() {
      if (isOpen) change(-1);
      isOpen = false;
      release();
    };
  };
}

function createConnectionCounter(
  limits: StreamLimits,
  countRefusal: (limit: string) => void,
): StreamCounters['reserveConnection'] {
  const reserve = createCounter((limit) => {
    countRefusal(limit);
    const cause = new Error(`limit of connections to an API reached: ${limit}`);
    const code = limit === 'MAX_UPSTREAM_CONNECTIONS' ? 'temporarily_unavailable' : 'too_many_requests';
    return new AppError(code, { limit, retryAfterSeconds: 1, cause });
  });
  const { upstreamConnections, upstreamConnectionsPerUser, upstreamConnectionsPerAddress } = limits;
  const perUser = (origin: string, user: string): Counted => {
    return ['MAX_UPSTREAM_CONNECTIONS_PER_USER', upstreamConnectionsPerUser, `${origin} ${user}`];
  };
  const perAddress = (origin: string, address: string | undefined): Counted => {
    const key = `${origin} address ${networkOf(address)}`;
    return ['MAX_UPSTREAM_CONNECTIONS_PER_ADDRESS', upstreamConnectionsPerAddress, key];
  };
  return (origin, owner) => {
    const { sessionId, userId } = owner;
    const total: Counted = ['MAX_UPSTREAM_CONNECTIONS', upstreamConnections, origin];
    if (userId !== undefined) return reserve([perUser(origin, `user ${userId}`), total]);
    // An unknown user may have any number of sessions.
    const perSession = sessionId === undefined ? [] : [perUser(origin, `session ${sessionId}`)];
    return reserve([...perSession, perAddress(origin, owner.address), total]);
  };
}
