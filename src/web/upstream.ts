import type { Readable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import type { Dispatcher } from 'undici';
import { AppError } from '../errors.ts';
import type { ResourceServer } from '../route-table.ts';
import type { Bearer } from './bearer.ts';
import { isSafe } from './methods.ts';
import { readStepUp } from './step-up.ts';
import { discard } from './upstream-answer.ts';
import { createUpstreamCircuit } from './upstream-circuit.ts';
import { isDisconnected, unavailableStatuses, upstreamFailure } from './upstream-failure.ts';

/** One call to an API. */
export interface Call {
  readonly server: Pick<
    ResourceServer,
    'origin' | 'timeoutMs' | 'idleMs' | 'stream' | 'tokenRefusedStatuses'
  >;
  readonly method: Dispatcher.HttpMethod;
  /** Path and query. */
  readonly path: string;
  /** A fresh object, for `authorization` is put in here from `bearer`. */
  readonly headers: Record<string, string | string[]>;
  readonly bearer?: Bearer | undefined;
  /** A stream can be sent only once. */
  readonly body: Buffer | Readable | null;
  readonly signal: AbortSignal;
}

/**
 * `callUpstream(call)`: the API's answer, whatever its status, its body not yet read.
 *
 * A call that may be repeated (a safe method, no body) is, at most twice and within the route's time, when the API cannot
 * be reached or says 502, 503 or 504 without naming a time. When the API refuses the access token, it is renewed once for
 * all who wait and the call is made once more; what the API says then is the answer.
 * @throws AppError `upstream_unreachable`, `upstream_timeout`, `temporarily_unavailable` (the host keeps failing, or the
 * token cannot be renewed now), `login_required` and `app_token_refused` (it cannot be renewed at all), `token_renewed` (it was, and the body is gone)
 */
export type CallUpstream = (call: Call) => Promise<Dispatcher.ResponseData>;

const mostTries = 3;
const firstPauseMs = 50;

/** The application's own token may not be replaced yet, when an API refuses every one; then sending again is no use. */
function isAnother(renewed: Bearer, refused: Bearer): boolean {
  return renewed.sessionId !== undefined || renewed.accessToken !== refused.accessToken;
}

export function createCallUpstream(upstream: Dispatcher): CallUpstream {
  const circuits = new Map<string, ReturnType<typeof createUpstreamCircuit>>();

  function circuitOf(origin: string): ReturnType<typeof createUpstreamCircuit> {
    const known = circuits.get(origin);
    if (known) return known;
    const circuit = createUpstreamCircuit();
    circuits.set(origin, circuit);
    return circuit;
  }

  function once({ server, method, path, headers, body, signal }: Call, leftMs: number) {
    const isUpload = body !== null && !Buffer.isBuffer(body);
    return circuitOf(server.origin)(() =>
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

  async function tried(call: Call, bearer: Bearer | undefined): Promise<Dispatcher.ResponseData> {
    const { server, method, headers, body, signal } = call;
    if (bearer) headers.authorization = `Bearer ${bearer.accessToken}`;
    if (!isSafe(method) || body !== null) return once(call, server.timeoutMs);
    const deadline = Date.now() + server.timeoutMs;
    for (let tries = 1; ; tries += 1) {
      const pauseMs = firstPauseMs * 4 ** (tries - 1) * (0.5 + Math.random());
      const isLast = tries === mostTries;
      const mayRepeat = () => !isLast && Date.now() + pauseMs < deadline;
      try {
        const answer = await once(call, Math.max(1, deadline - Date.now()));
        const isPassing = unavailableStatuses.has(answer.statusCode) && !answer.headers['retry-after'];
        if (!isPassing || !mayRepeat()) return answer;
        discard(answer);
      } catch (error) {
        if (!isDisconnected(error) || !mayRepeat()) throw error;
      }
      await delay(pauseMs, undefined, { signal });
    }
  }

  return async function callUpstream(call) {
    const { bearer, server, body } = call;
    const isRefused = ({ statusCode }: Dispatcher.ResponseData) =>
      server.tokenRefusedStatuses.includes(statusCode);
    try {
      const answer = await tried(call, bearer);
      if (!bearer?.renewed || !isRefused(answer)) return answer;
      if (await readStepUp(answer)) return answer; // the token is good, and its login is not enough
      discard(answer);
      const renewed = await bearer.renewed();
      if (!renewed) throw new AppError('login_required');
      if (body !== null && !Buffer.isBuffer(body))
        throw new AppError(isAnother(renewed, bearer) ? 'token_renewed' : 'app_token_refused');
      return await tried(call, renewed);
    } catch (error) {
      throw upstreamFailure(error);
    }
  };
}
