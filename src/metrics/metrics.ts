import { readFileSync } from 'node:fs';
import { collectDefaultMetrics, Gauge, Registry } from 'prom-client';
import { createCounter, createGauge, createHistogram } from './series.ts';

/** Every metric of Latchkey. `docs/metrics.md` explains each metric; a test compares that page with this file. */
export type Metrics = ReturnType<typeof createMetrics>;

const requestBuckets = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];
const storeBuckets = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1];
/** How long a scrape waits for a value that has to be read, for example from Redis. */
const maxCollectMs = 1_000;

export function createMetrics() {
  const registry = new Registry();

  function describe<const L extends string>(name: string, help: string, ...labelNames: readonly L[]) {
    return { name, help, labelNames, registry };
  }

  return {
    registry,
    httpRequests: createCounter(
      describe('latchkey_http_requests_total', 'Completed requests', 'route', 'method', 'status'),
    ),
    httpRequestSeconds: createHistogram(
      describe(
        'latchkey_http_request_duration_seconds',
        'Time from a request to the end of its response, without streams and WebSockets',
        'route',
        'method',
        'status',
      ),
      requestBuckets,
    ),
    upstreamRequestSeconds: createHistogram(
      describe(
        'latchkey_upstream_request_duration_seconds',
        'Time from sending a request to an API until the headers of the response or a failure; each attempt counts',
        'route',
        'method',
        'status',
      ),
      requestBuckets,
    ),
    providerRequestSeconds: createHistogram(
      describe(
        'latchkey_provider_request_duration_seconds',
        'Duration of an operation at the provider, including retries and the time in the queue',
        'operation',
        'outcome',
      ),
      requestBuckets,
    ),
    loginsStarted: createCounter(
      describe('latchkey_logins_started_total', 'Redirects to the provider for a login'),
    ),
    logins: createCounter(describe('latchkey_logins_total', 'Callbacks of logins', 'outcome')),
    refreshes: createCounter(
      describe('latchkey_refreshes_total', 'Refreshes of user tokens at the provider', 'outcome'),
    ),
    sharedRefreshes: createCounter(
      describe(
        'latchkey_refreshes_shared_total',
        'Refreshes that were not sent, because another caller had refreshed the session',
        'with',
      ),
    ),
    appTokens: createCounter(
      describe('latchkey_app_tokens_total', 'Requests for an app token at the provider', 'outcome'),
    ),
    revocations: createCounter(
      describe('latchkey_revocations_total', 'Attempts to revoke a token at the provider', 'outcome'),
    ),
    sessionsEnded: createCounter(
      describe('latchkey_sessions_ended_total', 'Sessions that have ended', 'reason'),
    ),
    leaseWaitSeconds: createHistogram(
      describe(
        'latchkey_lease_wait_seconds',
        'How long a request waited for the lease of a session or app token',
      ),
      storeBuckets,
    ),
    openStreams: createGauge(
      describe(
        'latchkey_open_streams',
        'Open event streams, WebSockets and responses of routes with stream in this process',
      ),
    ),
    openBreakers: createGauge(
      describe('latchkey_circuit_breaker_open', '1 while a circuit breaker is open', 'kind', 'name'),
    ),
    storeCommandSeconds: createHistogram(
      describe(
        'latchkey_store_command_duration_seconds',
        'Duration of a Redis command, including commands that failed',
        'command',
      ),
      storeBuckets,
    ),
    storeErrors: createCounter(
      describe('latchkey_store_errors_total', 'Redis commands that failed', 'command'),
    ),
    limitRejections: createCounter(
      describe('latchkey_limit_rejections_total', 'Requests and connections rejected by a limit', 'limit'),
    ),
    droppedLines: createCounter(
      describe(
        'latchkey_log_lines_dropped_total',
        'Lines of the log and the audit log that were dropped because nobody read the standard output',
        'kind',
      ),
    ),

    /** Adds `latchkey_ready`. Each scrape calls `read`, which returns true for each part that is ready. */
    collectReadiness(read: () => Promise<Readonly<Record<string, boolean>>>): void {
      const ready = addGauge('latchkey_ready', '1 if /readyz reports the part as ready', ['part']);
      ready.collectWith(async () => {
        for (const [part, isReady] of Object.entries(await read()))
          ready.gauge.set({ part }, Number(isReady));
      });
    },

    /** Adds `latchkey_revocations_pending`. */
    collectPendingRevocations(read: () => Promise<number>): void {
      addReadGauge('latchkey_revocations_pending', 'Tokens waiting to be revoked at the provider', read);
    },

    /** Adds `latchkey_sessions_live`. */
    collectLiveSessions(read: () => Promise<number>): void {
      addReadGauge('latchkey_sessions_live', 'Signed-in sessions of all instances', read);
    },
  };

  /** A gauge with one value, which a scrape leaves out if `read` rejects or takes too long. */
  function addReadGauge(name: string, help: string, read: () => Promise<number>): void {
    const { gauge, collectWith } = addGauge(name, help, []);
    collectWith(async () => gauge.set(await read()));
  }

  function addGauge(name: string, help: string, labelNames: string[]) {
    let collect = async (): Promise<void> => {};
    const gauge = new Gauge({
      ...{ name, help, labelNames },
      registers: [registry],
      async collect() {
        // Without this, the scrape would contain the old value, or an error would end the scrape for all metrics.
        await withTimeout(collect()).catch(() => this.remove());
      },
    });
    return {
      gauge,
      collectWith(next: () => Promise<void>) {
        collect = next;
      },
    };
  }
}

async function withTimeout(work: Promise<void>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const timeout = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error('timed out')), maxCollectMs);
  });
  await Promise.race([work, timeout]).finally(() => clearTimeout(timer));
}

/** Adds the metrics of the process: `process_*` and `nodejs_*` of prom-client, and `latchkey_build_info`. */
export function addProcessMetrics({ registry }: Metrics, node: string): void {
  collectDefaultMetrics({ register: registry });
  new Gauge({
    name: 'latchkey_build_info',
    help: 'Always 1; the labels are the versions of Latchkey and Node.js',
    labelNames: ['version', 'node'],
    registers: [registry],
  }).set({ version: readVersion(), node }, 1);
}

function readVersion(): string {
  try {
    const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
    const { version }: { readonly version: string } = JSON.parse(text);
    return version;
  } catch {
    return 'unknown'; // the build was copied without package.json, which must not prevent the start
  }
}
