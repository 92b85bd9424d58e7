import { isIP } from 'node:net';
import type { Request } from 'express';
import { ipKeyGenerator } from 'express-rate-limit';
import { type Caller, type CircuitBreaker, createCircuitBreaker } from '../../circuit-breaker.ts';
import { AppError } from '../../errors.ts';
import { createMetrics, type Metrics } from '../../metrics/metrics.ts';
import { elapsedMs } from '../../time/elapsed.ts';
import { isConnectFailure, isDisconnected, isTimeout, unavailableStatuses } from './errors.ts';
import { routeNameOf } from './measure.ts';

/** A route that has sent another response this recently works, so its circuit breaker does not open. */
const quietMs = 1_000;

/** One call, with all its retries. */
export interface GuardedCall {
  /**
   * The row of the route table; each combination of row and method has its own circuit breaker. Without one
   * (`hasRouteBreaker: false`), as for an app whose pages are not known, a page that fails does not affect the others.
   */
  readonly server: { readonly origin: string; readonly path?: string; readonly hasRouteBreaker?: boolean };
  readonly method: string;
  /** As `identifyCaller` returns it. */
  readonly caller: Caller;
  readonly isUpload: boolean;
}

/** Records the outcome of a call that `admit` allowed. */
export interface AdmittedCall {
  recordStatus(status: number): void;
  /** An error of another kind, such as an abort by the client, does not count. */
  recordError(error: unknown): void;
}

/**
 * `admit(call)`: the circuit breakers of all APIs (decision 24).
 * - A host: opens after ten calls in a row that could not connect.
 * - A route and method: opens after calls of three users (ten sessions of unknown users, or ten addresses) in a row got
 *   no response in time, got 502, 503 or 504, or lost the connection.
 * An upload that loses its connection does not count, because some APIs reject an upload by closing the connection.
 * @throws AppError `temporarily_unavailable` immediately while a circuit breaker is open
 */
export function createUpstreamCircuitBreakers(
  now: () => number = elapsedMs,
  { openBreakers }: Pick<Metrics, 'openBreakers'> = createMetrics(),
): (call: GuardedCall) => AdmittedCall {
  const hosts = new Map<string, CircuitBreaker>();
  const routes = new WeakMap<object, Map<string, CircuitBreaker>>();
  let callCount = 0;

  function getHost(origin: string): CircuitBreaker {
    return getOrCreate(hosts, origin, () => {
      const isOpen = openBreakers({ kind: 'api_host', name: origin });
      isOpen.set(0);
      return createCircuitBreaker({ now, onChange: (open) => isOpen.set(Number(open)) });
    });
  }

  function getRoute({ server, method }: GuardedCall): CircuitBreaker {
    const methods = routes.get(server) ?? new Map<string, CircuitBreaker>();
    routes.set(server, methods);
    const counted = method === 'HEAD' ? 'GET' : method;
    return getOrCreate(methods, counted, () => {
      const isOpen = openBreakers({ kind: 'api_route', name: `${counted} ${routeNameOf(server)}` });
      isOpen.set(0);
      return createCircuitBreaker({ now, quietMs, onChange: (open) => isOpen.set(Number(open)) });
    });
  }

  return function admit(call) {
    const { server, caller, isUpload } = call;
    const host = getHost(server.origin);
    const route = server.hasRouteBreaker === false ? undefined : getRoute(call);
    if (host.admit(caller) === 'refused') throw circuitIsOpen(`no connection to ${server.origin}`);
    if (route?.admit(caller) === 'refused')
      throw circuitIsOpen('the calls of several users to this route failed');
    return {
      recordStatus(status) {
        host.recordSuccess();
        if (unavailableStatuses.has(status)) route?.recordFailure(caller);
        else route?.recordSuccess();
      },
      recordError(error) {
        if (isConnectFailure(error)) {
          callCount += 1;
          host.recordFailure({ name: `call ${callCount}`, isUser: false });
        } else if (isTimeout(error)) {
          host.recordSuccess();
          route?.recordFailure(caller);
        } else if (isDisconnected(error) && !isUpload) route?.recordFailure(caller);
      },
    };
  };
}

/**
 * The caller of a request: the user; without a known user, the session; without a session, the address (IPv6: /56
 * network).
 */
export function identifyCaller(
  req: Pick<Request, 'login' | 'tokenSource'> & { readonly ip?: string | undefined },
): Caller {
  const sub = req.login?.user.sub;
  if (sub !== undefined) return { name: `user ${sub}`, isUser: true };
  const sessionId = req.tokenSource?.sessionId;
  if (sessionId !== undefined) return { name: `session ${sessionId}`, isUser: false };
  const name = isIP(req.ip ?? '') ? `address ${ipKeyGenerator(req.ip ?? '')}` : 'unknown address';
  return { name, isUser: false };
}

function circuitIsOpen(reason: string): AppError {
  const cause = new Error(`upstream circuit breaker is open: ${reason}`);
  return new AppError('temporarily_unavailable', { cause, retryAfterSeconds: 1 });
}

function getOrCreate<T>(map: Map<string, T>, key: string, create: () => T): T {
  const existing = map.get(key);
  if (existing !== undefined) return existing;
  const created = create();
  map.set(key, created);
  return created;
}
