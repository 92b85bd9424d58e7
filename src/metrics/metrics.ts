import { readFileSync } from 'node:fs';
import { collectDefaultMetrics, Gauge, Registry } from 'prom-client';
import { createCounter, createGauge, createHistogram } from './series.ts';

/** Every metric of Latchkey. `docs/metrics.md` gives the meaning of each, and a test compares the two. */
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
      describe('latchkey_http_requests_total', 'Requests that have ended', 'route', 'method', 'status'),
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
        'Time from a request to an API to the head of its response, or to its failure; each attempt counts',
        'route',
        'method',
        'status',
      ),
      requestBuckets,
    ),
    providerRequestSeconds: createHistogram(
      describe(
        'latchkey_provider_request_duration_seconds',
        'Time of an operation at the provider, with its retries',
        'operation',
        'outcome',
      ),
      requestBuckets,
    ),
    loginsStarted: createCounter(
      describe('latchkey_logins_started_total', 'Redirects to the provider for a login'),
    ),
    logins: createCounter(
      describe('latchkey_logins_total', 'Logins that came back from the provider', 'outcome'),
    ),
    refreshes: createCounter(
      describe('latchkey_refreshes_total', 'Refreshes of user tokens at the provider', 'outcome'),
    ),
    sharedRefreshes: createCounter(
      describe(
        'latchkey_refreshes_shared_total',
        'Refreshes saved because another caller had made one',
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
      describe('latchkey_lease_wait_seconds', 'Time until a process had the lease of a session or app token'),
      storeBuckets,
    ),
    openStreams: createGauge(
      describe('latchkey_open_streams', 'Event streams and WebSockets open in this process'),
    ),
    openBreakers: createGauge(
      describe('latchkey_circuit_breaker_open', '1 while a circuit breaker is open', 'kind', 'name'),
    ),
    storeCommandSeconds: createHistogram(
      describe(
        'latchkey_store_command_duration_seconds',
        'Time of a Redis command, failed or not',
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

    /** Adds `latchkey_ready`, whose parts are read at each scrape: true if ready. */
    collectReadiness(read: () => Promise<Readonly<Record<string, boolean>>>): void {
      const ready = addGauge('latchkey_ready', 'What /readyz says about each part, 1 if ready', ['part']);
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

  /** A gauge of a single value. It has no value in a scrape in which `read` rejects or takes too long. */
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
        // An old value would look like a measurement, and a failure must not cost the other metrics.
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

/** Adds what belongs to the process: `process_*` and `nodejs_*` of prom-client, and `latchkey_build_info`. */
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
    return 'unknown'; // the build was copied without it, which must not stop the start
  }
}
