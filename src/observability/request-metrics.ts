import type { Request, RequestHandler, Response } from 'express';
import type { Metrics } from '../metrics/metrics.ts';
import type { CounterSeries, HistogramSeries } from '../metrics/series.ts';
import { paths } from '../paths.ts';
import { onResponseClosed } from '../response-closed.ts';

interface StatusSeries {
  readonly count: CounterSeries;
  readonly seconds: HistogramSeries;
}

/** What requests to one route with one method count as. */
interface MeasuredRoute {
  readonly route: string;
  /** Responses last as long as their client or session does, so their duration says nothing. */
  readonly isStream: boolean;
  /** The series of a class of status: `seriesOf(2)` is that of 2xx. */
  seriesOf(statusClass: number): StatusSeries;
}

declare global {
  namespace Express {
    interface Request {
      /** What the metrics count this request as. Set by `measureAs`. */
      measuredAs?: MeasuredRoute;
      /** Set if the response is a stream of events, which lasts as long as its client wants. */
      hasEventStream?: boolean;
    }
  }
}

const methods = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']);
/** Paths with others below them, which are counted together. */
const prefixes = [paths.assets, paths.savedForms, paths.api];
const exactPaths: ReadonlySet<string> = new Set(Object.values(paths));

/**
 * Counts requests and their durations by route, method and class of status. A route is the path of a row in the route
 * table or one of our own paths; everything else is `other`, because callers choose it.
 */
export function createRequestMetrics({ httpRequests, httpRequestSeconds }: Metrics) {
  const pages = new Map<string, MeasuredRoute>();

  function createMeasuredRoute(route: string, method: string, isStream: boolean): MeasuredRoute {
    const byClass: (StatusSeries | undefined)[] = [];
    return {
      route,
      isStream,
      seriesOf(statusClass) {
        const existing = byClass[statusClass];
        if (existing) return existing;
        const labels = { route, method, status: `${statusClass}xx` };
        const created = { count: httpRequests(labels), seconds: httpRequestSeconds(labels) };
        byClass[statusClass] = created;
        return created;
      },
    };
  }

  function getPage(req: Request): MeasuredRoute {
    const method = methods.has(req.method) ? req.method : 'other';
    const route = routeOf(req.originalUrl);
    const key = `${method} ${route}`;
    const existing = pages.get(key);
    if (existing) return existing;
    const created = createMeasuredRoute(route, method, false);
    pages.set(key, created);
    return created;
  }

  const measureRequests: RequestHandler = function measureRequests(req, res, next) {
    const startedAt = performance.now();
    onResponseClosed(res, () => {
      const measured = req.measuredAs ?? getPage(req);
      // The client disconnected before there was a response; the status is still the default of Node.js, 200.
      const isAborted = !res.headersSent && res.statusCode !== 101;
      const { count, seconds } = measured.seriesOf(isAborted ? 4 : Math.floor(res.statusCode / 100));
      count.increment();
      if (!measured.isStream && !isStream(req, res)) seconds.observe((performance.now() - startedAt) / 1000);
    });
    next();
  };

  return {
    /** Middleware that counts every request when it has ended. */
    measureRequests,
    /** Middleware that says which row of the route table a request belongs to. */
    measureAs({ path, stream }: { path: string; stream: boolean }, method: string): RequestHandler {
      const measured = createMeasuredRoute(paths.api + path, method, stream);
      return function measureAs(req, _res, next) {
        req.measuredAs = measured;
        next();
      };
    },
  };
}

function routeOf(url: string): string {
  const end = url.indexOf('?');
  const path = end < 0 ? url : url.slice(0, end);
  if (exactPaths.has(path)) return path;
  return prefixes.find((prefix) => path.startsWith(`${prefix}/`)) ?? 'other';
}

/** A WebSocket, or events from a route that is not declared as a stream. */
function isStream({ hasEventStream }: Request, { statusCode }: Response): boolean {
  return statusCode === 101 || hasEventStream === true;
}
