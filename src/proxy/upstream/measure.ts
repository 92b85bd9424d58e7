import type { Metrics } from '../../metrics/metrics.ts';
import type { HistogramSeries } from '../../metrics/series.ts';
import { paths } from '../../paths.ts';
import { elapsedMs } from '../../time/elapsed.ts';
import { addTraceHeaders, isTracingEnabled, recordStatus, withSpan } from '../../tracing.ts';
import { isTimeout } from './errors.ts';

/** One attempt to send a request. */
interface Attempt {
  /** The same object for all requests of a route. */
  readonly server: {
    readonly origin: string;
    readonly path?: string;
    readonly hostPath?: string | undefined;
    readonly targetPath?: string;
  };
  readonly method: string;
  readonly headers: Record<string, string | string[]>;
  /** Says whether the client has aborted the request. */
  readonly abort: { readonly aborted: boolean };
}

/** What `createUpstreamMeasure` returns. */
export type UpstreamMeasure = ReturnType<typeof createUpstreamMeasure>;

/**
 * The series of one route and method by status: a status class such as `2xx`, or the reason why there was no response.
 */
type StatusSeries = Map<string, HistogramSeries>;

const statusClasses = ['', '1xx', '2xx', '3xx', '4xx', '5xx'];

/**
 * `measure(attempt, send)`: calls `send`, returns its response, and measures the time until the headers of the response
 * arrive. With an OpenTelemetry SDK, it also creates a span, and sends it to the API in `traceparent`.
 */
export function createUpstreamMeasure({ upstreamRequestSeconds }: Pick<Metrics, 'upstreamRequestSeconds'>) {
  const routes = new WeakMap<object, Map<string, StatusSeries>>();

  function getStatusSeries({ server, method }: Attempt): StatusSeries {
    const methods = routes.get(server) ?? new Map<string, StatusSeries>();
    routes.set(server, methods);
    const series: StatusSeries = methods.get(method) ?? new Map<string, HistogramSeries>();
    methods.set(method, series);
    return series;
  }

  function record(attempt: Attempt, status: string, startedAt: number): void {
    const { server, method } = attempt;
    const byStatus = getStatusSeries(attempt);
    let series = byStatus.get(status);
    if (!series) {
      series = upstreamRequestSeconds({ route: routeNameOf(server), method, status });
      byStatus.set(status, series);
    }
    series.observe((elapsedMs() - startedAt) / 1000);
  }

  async function measureTime<T extends { readonly statusCode: number }>(
    attempt: Attempt,
    send: () => Promise<T>,
  ): Promise<T> {
    const startedAt = elapsedMs();
    try {
      const response = await send();
      record(attempt, statusClasses[Math.floor(response.statusCode / 100)] ?? 'other', startedAt);
      return response;
    } catch (error) {
      record(attempt, isTimeout(error) ? 'timeout' : attempt.abort.aborted ? 'aborted' : 'failed', startedAt);
      throw error;
    }
  }

  return function measure<T extends { readonly statusCode: number }>(
    attempt: Attempt,
    send: () => Promise<T>,
  ): Promise<T> {
    if (!isTracingEnabled()) return measureTime(attempt, send);
    const { server, method, headers } = attempt;
    const route = routeNameOf(server);
    const attributes = {
      'http.request.method': method,
      'http.route': route,
      'server.address': server.origin,
    };
    return withSpan(`${method} ${route}`, 'client', attributes, async (span) => {
      addTraceHeaders(headers);
      const response = await measureTime(attempt, send);
      if (span) recordStatus(span, 'client', response.statusCode);
      return response;
    });
  };
}

/** The name of a row of the route table in metrics and traces: its path below the public origin. */
export function routeNameOf({ path, hostPath, origin, targetPath = '' }: Attempt['server']): string {
  return path === undefined ? (hostPath ?? origin + targetPath) : paths.api + path;
}
