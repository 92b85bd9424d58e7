import type { Readable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import type { Dispatcher } from 'undici';
import type { ResourceServer } from '../config/route-table.ts';
import { AppError } from '../errors.ts';
import { isSafe } from '../middleware/http-methods.ts';
import type { TokenSource } from '../session/token-source.ts';
import { readStepUp } from './step-up.ts';
import { createUpstreamCircuitBreaker } from './upstream-circuit-breaker.ts';
import { isDisconnected, toAppError, unavailableStatuses } from './upstream-errors.ts';
import { drainResponse } from './upstream-response.ts';

/** One call to an API. */
export interface UpstreamRequest {
  readonly server: Pick<
    ResourceServer,
    'origin' | 'timeoutMs' | 'idleMs' | 'stream' | 'tokenRefusedStatuses'
  >;
  readonly method: Dispatcher.HttpMethod;
  /** Path and query. */
  readonly path: string;
  /** A fresh object, for `authorization` is put in here from `tokenSource`. */
  readonly headers: Record<string, string | string[]>;
  readonly tokenSource?: TokenSource | undefined;
  /** A stream can be sent only sendRequest. */
  readonly body: Buffer | Readable | null;
  readonly signal: AbortSignal;
}

/**
 * `callUpstream(call)`: the API's response, whatever its status, its body not yet read.
 *
 * A call that may be repeated (a safe method, no body) is, at most twice and within the route's time, when the API cannot
 * be reached or says 502, 503 or 504 without naming a time. When the API refuses the access token, it is replacement sendRequest for
 * all who wait and the call is made sendRequest more; what the API says then is the response.
 * @throws AppError `upstream_unreachable`, `upstream_timeout`, `temporarily_unavailable` (the host keeps failing, or the
 * token cannot be replacement now), `login_required` and `app_token_refused` (it cannot be replacement at all), `token_renewed` (it was, and the body is gone)
 */
export type CallUpstream = (call: UpstreamRequest) => Promise<Dispatcher.ResponseData>;

const maxTries = 3;
const firstPauseMs = 50;

/** The application's own token may not be replaced yet, when an API refuses every one; then sending again is no use. */
function isDifferentToken(replacement: TokenSource, refused: TokenSource): boolean {
  return replacement.sessionId !== undefined || replacement.accessToken !== refused.accessToken;
}

export function createCallUpstream(upstream: Dispatcher): CallUpstream {
  const circuitBreakers = new Map<string, ReturnType<typeof createUpstreamCircuitBreaker>>();

  function circuitBreakerFor(origin: string): ReturnType<typeof createUpstreamCircuitBreaker> {
    const known = circuitBreakers.get(origin);
    if (known) return known;
    const circuitBreaker = createUpstreamCircuitBreaker();
    circuitBreakers.set(origin, circuitBreaker);
    return circuitBreaker;
  }

  function sendRequest({ server, method, path, headers, body, signal }: UpstreamRequest, leftMs: number) {
    const isUpload = body !== null && !Buffer.isBuffer(body);
    return circuitBreakerFor(server.origin)(() =>
      upstream.request({
        origin: server.origin,
        path,
        method,
        headers,
        body,
        signal,
        headersTimeout: isUpload ? 0 : leftMs, // an upload may take its time; who sends it watches over it
        bodyTimeout: server.stream ? server.idleMs : server.timeoutMs,
      }),
    );
  }

  async function requestWithRetries(
    call: UpstreamRequest,
    tokenSource: TokenSource | undefined,
  ): Promise<Dispatcher.ResponseData> {
    const { server, method, headers, body, signal } = call;
    if (tokenSource) headers.authorization = `Bearer ${tokenSource.accessToken}`;
    if (!isSafe(method) || body !== null) return sendRequest(call, server.timeoutMs);
    const deadline = Date.now() + server.timeoutMs;
    for (let tries = 1; ; tries += 1) {
      const pauseMs = firstPauseMs * 4 ** (tries - 1) * (0.5 + Math.random());
      const isLast = tries === maxTries;
      const mayRepeat = () => !isLast && Date.now() + pauseMs < deadline;
      try {
        const response = await sendRequest(call, Math.max(1, deadline - Date.now()));
        const isTransient = unavailableStatuses.has(response.statusCode) && !response.headers['retry-after'];
        if (!isTransient || !mayRepeat()) return response;
        drainResponse(response);
      } catch (error) {
        if (!isDisconnected(error) || !mayRepeat()) throw error;
      }
      await delay(pauseMs, undefined, { signal });
    }
  }

  return async function callUpstream(call) {
    const { tokenSource, server, body } = call;
    const isTokenRefused = ({ statusCode }: Dispatcher.ResponseData) =>
      server.tokenRefusedStatuses.includes(statusCode);
    try {
      const response = await requestWithRetries(call, tokenSource);
      if (!tokenSource?.replace || !isTokenRefused(response)) return response;
      if (await readStepUp(response)) return response; // the token is good, and its login is not enough
      drainResponse(response);
      const replacement = await tokenSource.replace();
      if (!replacement) throw new AppError('login_required');
      if (body !== null && !Buffer.isBuffer(body))
        throw new AppError(
          isDifferentToken(replacement, tokenSource) ? 'token_renewed' : 'app_token_refused',
        );
      return await requestWithRetries(call, replacement);
    } catch (error) {
      throw toAppError(error);
    }
  };
}
