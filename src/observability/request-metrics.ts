import type { NextFunction, Request, RequestHandler, Response } from 'express';
import type { Metrics } from '../metrics/metrics.ts';
import type { CounterSeries, HistogramSeries } from '../metrics/series.ts';
import { paths } from '../paths.ts';
import { onResponseClosed } from '../response-closed.ts';
import { elapsedMs } from '../time/elapsed.ts';

interface StatusSeries {
  readonly count: CounterSeries;
  readonly seconds: HistogramSeries;
}

/** The series that count the requests to one route with one method. */
interface MeasuredRoute {
  readonly route: string;
  /** True if a response can last as long as the session: its duration is then not measured. */
  readonly isStream: boolean;
  /** The series of a status class: `seriesOf(2)` returns the series of 2xx. */
  seriesOf(statusClass: number): StatusSeries;
}

declare global {
  namespace Express {
    interface Request {
      /** The series that count this request. Set by `measureAs`. */
      measuredAs?: MeasuredRoute;
      /** True if the response is an event stream, whose duration is not measured. */
      hasEventStream?: boolean;
    }
  }
}

const methods = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']);
/** All paths below one of these count as this path. */
const prefixes = [paths.assets, paths.savedForms, paths.api];
const exactPaths: ReadonlySet<string> = new Set(Object.values(paths));

/**
 * Counts requests and their durations by route, method and status class. A route is the path of a row in the route
 * table, one of our own paths, `front-end`, or `other` for all other paths, which callers can choose freely.
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

  function getPage(
    req: Request,
    route = req.isOutsideBasePath ? 'other' : routeOf(req.originalUrl),
  ): MeasuredRoute {
    const method = methods.has(req.method) ? req.method : 'other';
    const key = `${method} ${route}`;
    const existing = pages.get(key);
    if (existing) return existing;
    const created = createMeasuredRoute(route, method, false);
    pages.set(key, created);
    return created;
  }

  const measureRequests: RequestHandler = function measureRequests(req, res, next) {
    const startedAt = elapsedMs();
    onResponseClosed(res, () => {
      const measured = req.measuredAs ?? getPage(req);
      // The client disconnected before the response; the status is still the default of Node.js, 200.
      const isAborted = !res.headersSent && res.statusCode !== 101;
      const { count, seconds } = measured.seriesOf(isAborted ? 4 : Math.floor(res.statusCode / 100));
      count.increment();
      if (!measured.isStream && !isStream(req, res)) seconds.observe((elapsedMs() - startedAt) / 1000);
    });
    next();
  };

  return {
    /** Middleware that counts every request when it has ended. */
    measureRequests,
    /** Middleware that counts a request as one of the front end, whatever its path. */
    measureFrontEnd: function measureFrontEnd(req: Request, _res: Response, next: NextFunction) {
      req.measuredAs = getPage(req, 'front-end');
      next();
    },
    /** Middleware that assigns a request to a row of the route table. */
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

/** True for a WebSocket, and for an event stream of a route without `stream`. */
function isStream({ hasEventStream }: Request, { statusCode }: Response): boolean {
  return statusCode === 101 || hasEventStream === true;
}
