import type { Cluster, Redis } from 'ioredis';
import type { RedisTarget } from '../../config/redis-url.ts';
import type { Logger } from '../../logger.ts';
import { elapsedMs } from '../../time/elapsed.ts';
import { isCluster } from './client/redis-connection.ts';

type FailureKind =
  | 'authentication'
  | 'permission'
  | 'database'
  | 'tls'
  | 'rejected'
  | 'readOnly'
  | 'unreachable';

const messages: Readonly<Record<FailureKind, string>> = {
  authentication:
    'Redis or a sentinel rejected the credentials: check REDIS_URL and REDIS_SENTINEL_PASSWORD; retrying',
  permission: 'the Redis user lacks a permission (docs/redis.md lists all); retrying',
  database: 'Redis has no database with the number in REDIS_URL; retrying',
  tls: 'no TLS connection to Redis: check its certificate and NODE_EXTRA_CA_CERTS; retrying',
  rejected: 'Redis rejected the connection; retrying',
  readOnly: 'Redis is read-only: a replica, or a master that was replaced; reconnecting',
  unreachable: 'Redis cannot be reached; retrying',
};

const settingNames = /REDIS_URL( and REDIS_SENTINEL_PASSWORD)?/;

/** The same failure is logged at once, then after this time, then after twice this time, and so on. */
const firstPauseMs = 10_000;
const firstConnectedPauseMs = 1_000;
const maxPauseMs = 300_000;
/** After this time without a failure, the next one is logged at once. */
const stableMs = 60_000;

/** Reports the state of the connections to one Redis, without repeating itself. */
export interface ConnectionLog {
  /** @param address of the server that has failed, if it is not the one in `REDIS_URL` */
  failed(error: Error, address?: string): void;
  /** The server has closed the connection without a response. */
  closedEarly(): void;
  lost(): void;
  ready(): void;
}

/** @param source where `target` is from, if not from the settings */
export function createConnectionLog(log: Logger, target: RedisTarget, source?: string): ConnectionLog {
  const configured = describeAddress(target);
  const lines = new Map<string, { pauseMs: number; nextAt: number; skipped: number }>();
  let isConnected = false;
  let changedAt = elapsedMs();

  /** Whether to write this line now; `skipped` says how often it was not written before. */
  function admit(line: string, pauseMs: number): { readonly skipped?: number } | undefined {
    const now = elapsedMs();
    const state = lines.get(line) ?? { pauseMs, nextAt: 0, skipped: 0 };
    lines.set(line, state);
    if (now < state.nextAt) {
      state.skipped += 1;
      return undefined;
    }
    const { skipped } = state;
    lines.set(line, {
      pauseMs: Math.min(state.pauseMs * 2, maxPauseMs),
      nextAt: now + state.pauseMs,
      skipped: 0,
    });
    return skipped > 0 ? { skipped } : {};
  }

  function lost(): void {
    if (!isConnected) return;
    if (elapsedMs() - changedAt > stableMs) lines.clear();
    isConnected = false;
    changedAt = elapsedMs();
  }

  function report(kind: FailureKind, address: string, facts: object): void {
    lost();
    const admitted = admit(`${kind} ${address}`, firstPauseMs);
    if (admitted) {
      const message = source ? messages[kind].replace(settingNames, source) : messages[kind];
      log.warn({ address, reason: kind, ...facts, ...admitted }, message);
    }
  }

  return {
    lost,
    failed(error, address = configured) {
      const kind = classify(error);
      report(kind, addressOf(error) ?? address, { ...describeFailure(error), ...findHint(error, target) });
    },
    closedEarly() {
      const hint = target.tls
        ? {}
        : { hint: `the server may require TLS${source ? '' : ': rediss instead of redis in REDIS_URL'}` };
      report('unreachable', configured, {
        error: 'the server closed the connection without a response',
        ...hint,
      });
    },
    ready() {
      if (isConnected) return;
      const downForMs = Math.round(elapsedMs() - changedAt);
      isConnected = true;
      changedAt = elapsedMs();
      const admitted = admit('connected', firstConnectedPauseMs);
      if (admitted) log.info({ address: configured, afterMs: downForMs, ...admitted }, 'connected to Redis');
    },
  };
}

/** Connects the events of ioredis with the log. */
export function reportConnections(redis: Redis | Cluster, connectionLog: ConnectionLog): void {
  let isReported = false;
  let wasReady = false;
  const report = (error: Error, address?: string) => {
    isReported = true;
    connectionLog.failed(error, address);
  };
  /** These errors only repeat those of the nodes or sentinels, or follow from them. */
  const reportSummary = (error: Error) => {
    if (!isReported) report(error);
  };
  redis.on('connecting', () => {
    isReported = false;
    wasReady = false;
  });
  redis.on('ready', () => {
    wasReady = true;
    connectionLog.ready();
  });
  redis.on('close', () => {
    if (!isReported && !wasReady) connectionLog.closedEarly();
    connectionLog.lost();
  });
  if (isCluster(redis)) redis.on('node error', report).on('error', reportSummary);
  else
    redis
      .on('sentinelError', (error: Error) => report(error))
      .on('error', (error: Error) => (isSummary(error) ? reportSummary(error) : report(error)));
}

const isSummary = (error: Error) =>
  /^(All sentinels are unreachable|Stream isn't writeable)/.test(error.message);

function findHint(error: Error, { tls }: RedisTarget): { readonly hint?: string } {
  if (tls && codeOf(error) === 'ETIMEDOUT') return { hint: 'the server may not use TLS' };
  if (error.message.endsWith('invalid reply: null'))
    return { hint: 'the sentinel does not monitor a master with the name in REDIS_URL' };
  return {};
}

function describeAddress({ kind, nodes, name, socketPath }: RedisTarget): string {
  const list = nodes
    .map(({ host, port }) => (host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`))
    .join(',');
  return socketPath ?? (kind === 'sentinel' ? `${list}/${name}` : list);
}

const codeOf = (error: Error): unknown => ('code' in error ? error.code : undefined);

/** The address that the operating system has refused, which Sentinel may have named. */
function addressOf(error: Error): string | undefined {
  return 'address' in error && 'port' in error ? `${error.address}:${error.port}` : undefined;
}

/** Text and code of an error, without a stack. A name with several addresses fails with one error for each. */
export function describeFailure(error: unknown): { readonly error: string; readonly code?: unknown } {
  if (!(error instanceof Error)) return { error: 'not an Error' };
  const inner = error instanceof AggregateError ? error.errors : [];
  const texts = inner.map((each) => (each instanceof Error ? each.message : '')).filter(Boolean);
  const code = codeOf(error);
  return { error: error.message || texts.join('; '), ...(code !== undefined && { code }) };
}

/** True when Redis has refused a command because the user lacks a permission. */
export function isPermissionError(error: unknown): boolean {
  return error instanceof Error && replyCodeOf(error) === 'NOPERM';
}

/** The code at the start of an error reply of Redis; ioredis quotes the reply of a sentinel in a sentence. */
function replyCodeOf(error: Error): string | undefined {
  return /^(?:.* (?:because|Last error:) )?([A-Z]{3,})\b/.exec(error.message)?.[1];
}

function classify(error: Error): FailureKind {
  const reply = replyCodeOf(error);
  if (reply === 'WRONGPASS' || reply === 'NOAUTH' || /^ERR .*\b(AUTH|password)\b/i.test(error.message))
    return 'authentication';
  if (reply === 'NOPERM') return 'permission';
  if (error.message.startsWith('ERR DB index')) return 'database';
  if (reply === 'READONLY') return 'readOnly';
  const code = String(codeOf(error) ?? '');
  if (/^(ERR_TLS|ERR_SSL|CERT_|DEPTH_ZERO|SELF_SIGNED|UNABLE_TO|HOSTNAME_|EPROTO)/.test(code)) return 'tls';
  return reply !== undefined && code === '' ? 'rejected' : 'unreachable';
}
