import type { Readable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import type { Dispatcher } from 'undici';
import type { Caller } from '../circuit-breaker.ts';
import type { ResourceServer } from '../config/route-table.ts';
import { AppError } from '../errors.ts';
import { createMetrics, type Metrics } from '../metrics/metrics.ts';
import { isIdempotent, isSafe } from '../middleware/http-methods.ts';
import type { TokenSource } from '../session/token-source.ts';
import { elapsedMs } from '../time/elapsed.ts';
import { readStepUp } from './step-up.ts';
import type { CallAbort } from './upstream/call-abort.ts';
import { createUpstreamCircuitBreakers } from './upstream/circuit-breaker.ts';
import {
  createTimeoutError,
  isDisconnected,
  isUnsent,
  toAppError,
  unavailableStatuses,
} from './upstream/errors.ts';
import { dispatchRequest, type UpstreamResponse } from './upstream/exchange.ts';
import { createUpstreamMeasure } from './upstream/measure.ts';

/** A request to an API. */
export interface UpstreamRequest {
  /** The row of the route table: the same object for all requests of a route. */
  readonly server: Pick<
    ResourceServer,
    'origin' | 'timeoutMs' | 'idleMs' | 'stream' | 'tokenRefusedStatuses'
  > & { readonly path?: string; readonly hasRouteBreaker?: boolean };
  readonly method: Dispatcher.HttpMethod;
  /** Path and query. */
  readonly path: string;
  /** A new object for each request: `authorization` is added to it. */
  readonly headers: Record<string, string | string[]>;
  readonly tokenSource?: TokenSource | undefined;
  /** For whom the request is made; see `identifyCaller`. */
  readonly caller: Caller;
  /** A stream can be sent only once. */
  readonly body: Buffer | Readable | null;
  /** Ends the call when the client disconnects, and afterwards the response. */
  readonly abort: CallAbort;
}

/**
 * The API's response, whatever its status, with its body not yet read.
 *
 * Requests are retried at most twice and within the route's timeout, unless their body is a stream: idempotent ones when the
 * API is unreachable or the connection is lost, others when nothing of them was sent, and safe ones without a body also
 * when the API returns 502, 503 or 504 without `Retry-After`. When the API rejects the access token, the token is replaced once
 * for all concurrent requests, and the request is sent again; that second response is final.
 * @throws AppError `upstream_unreachable`, `upstream_timeout`, `temporarily_unavailable` (the circuit breaker is open,
 * or the token cannot be replaced now), `login_required` and `app_token_refused` (the token cannot be replaced at all),
 * `token_renewed` (it was replaced, but the body cannot be sent again)
 */
export type CallUpstream = (request: UpstreamRequest) => Promise<UpstreamResponse>;

const maxAttempts = 3;
const initialDelayMs = 50;

function isStream(body: UpstreamRequest['body']): body is Readable {
  return body !== null && !Buffer.isBuffer(body);
}

/** False when `AppTokenManager` returned the rejected token again, because it is itself a recent replacement. */
function isDifferentToken(replacement: TokenSource, refused: TokenSource): boolean {
  return replacement.sessionId !== undefined || replacement.accessToken !== refused.accessToken;
}

/** A `CallUpstream` with one circuit breaker per origin, and one per route and method. */
export function createCallUpstream(
  upstream: Dispatcher,
  metrics: Pick<Metrics, 'openBreakers' | 'upstreamRequestSeconds'> = createMetrics(),
): CallUpstream {
  const admit = createUpstreamCircuitBreakers(elapsedMs, metrics);
  const measure = createUpstreamMeasure(metrics);

  function sendRequest(
    { server, method, path, headers, body, abort }: UpstreamRequest,
    headersTimeoutMs: number,
  ): Promise<UpstreamResponse> {
    const startedAt = elapsedMs();
    const request = {
      origin: server.origin,
      path,
      method,
      headers,
      body,
      headersTimeout: isStream(body) ? 0 : headersTimeoutMs, // an upload has its own idle timer (request-body.ts)
      bodyTimeout: server.stream ? server.idleMs : server.timeoutMs,
    };
    return dispatchRequest(upstream, request, {
      abort,
      // Each interim response (1xx) restarts the timer of undici.
      onInfo() {
        if (!isStream(body) && elapsedMs() - startedAt > headersTimeoutMs) abort.abort(createTimeoutError());
      },
    });
  }

  async function requestWithRetries(
    request: UpstreamRequest,
    tokenSource: TokenSource | undefined,
  ): Promise<UpstreamResponse> {
    const { server, method, headers, body, abort } = request;
    if (tokenSource) headers.authorization = `Bearer ${tokenSource.accessToken}`;
    if (isStream(body)) return measure(request, () => sendRequest(request, server.timeoutMs));
    const isRetryableStatus = isSafe(method) && body === null;
    const isRetryable = (error: unknown) =>
      isIdempotent(method) ? isDisconnected(error) : isUnsent(error, body?.length ?? 0);
    const deadline = elapsedMs() + server.timeoutMs;
    for (let attempt = 1; ; attempt += 1) {
      const delayMs = initialDelayMs * 4 ** (attempt - 1) * (0.5 + Math.random());
      const canRetry = () => attempt < maxAttempts && elapsedMs() + delayMs < deadline;
      try {
        const response = await measure(request, () =>
          sendRequest(request, Math.max(1, deadline - elapsedMs())),
        );
        const isTransient = unavailableStatuses.has(response.statusCode) && !response.headers['retry-after'];
        if (!isRetryableStatus || !isTransient || !canRetry()) return response;
        response.body.discard();
      } catch (error) {
        if (!isRetryable(error) || !canRetry()) throw error;
      }
      await delay(delayMs);
      if (abort.reason) throw abort.reason;
    }
  }

  return async function callUpstream(request) {
    const { tokenSource, server, method, caller, body } = request;
    async function send(source: TokenSource | undefined): Promise<UpstreamResponse> {
      const admitted = admit({ server, method, caller, isUpload: isStream(body) });
      try {
        const response = await requestWithRetries(request, source);
        admitted.recordStatus(response.statusCode);
        return response;
      } catch (error) {
        admitted.recordError(error);
        throw error;
      }
    }
    const isTokenRefused = ({ statusCode }: UpstreamResponse) =>
      server.tokenRefusedStatuses.includes(statusCode);
    try {
      const response = await send(tokenSource);
      if (!tokenSource?.replace || !isTokenRefused(response)) return response;
      if (await readStepUp(response)) return response; // the token is valid, but its login is not sufficient
      response.body.discard();
      const replacement = await tokenSource.replace();
      if (!replacement) throw new AppError('login_required');
      if (isStream(body))
        throw new AppError(
          isDifferentToken(replacement, tokenSource) ? 'token_renewed' : 'app_token_refused',
        );
      return await send(replacement);
    } catch (error) {
      if (isStream(body)) body.destroy(); // undici has not taken it if there was no connection
      throw toAppError(error);
    }
  };
}
