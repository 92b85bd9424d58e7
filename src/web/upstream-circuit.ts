import type { Dispatcher } from 'undici';
import { AppError } from '../errors.ts';
import { isDisconnected, isTimeout, unavailableStatuses } from './upstream-failure.ts';

const failuresToOpen = 10;
const firstPauseMs = 1_000;
const longestPauseMs = 10_000;

type Ask = (question: () => Promise<Dispatcher.ResponseData>) => Promise<Dispatcher.ResponseData>;

/**
 * `ask(question)` for one host of an API: after ten failures in a row (no connection, no answer in time, 502, 503, 504)
 * it is left alone but for one probe after 1, 2, 4, 8 and then every 10 s, so that nobody waits for it in vain. Nobody
 * waits for a probe either: it can be an upload of an hour, and the next one begins when its time has come.
 * @throws AppError `temporarily_unavailable` at once, while it is left alone
 */
export function createUpstreamCircuit(): Ask {
  let failures = 0;
  let probes = 0;
  let nextProbeAt = 0;

  function putProbeOff(): void {
    const pauseMs = Math.min(firstPauseMs * 2 ** probes, longestPauseMs);
    nextProbeAt = Date.now() + pauseMs * (0.5 + Math.random() / 2); // several instances do not probe in step
  }

  function failed(): void {
    failures += 1;
    if (failures === failuresToOpen) putProbeOff();
  }

  function answered(): void {
    failures = 0;
    probes = 0;
  }

  return async function ask(question) {
    if (failures >= failuresToOpen) {
      if (Date.now() < nextProbeAt) {
        const cause = new Error('the host is left alone: it keeps failing');
        throw new AppError('temporarily_unavailable', { cause, retryAfterSeconds: 1 });
      }
      probes += 1;
      putProbeOff();
    }
    try {
      const answer = await question();
      if (unavailableStatuses.has(answer.statusCode)) failed();
      else answered();
      return answer;
    } catch (error) {
      if (isDisconnected(error) || isTimeout(error)) failed(); // of a caller who left nothing is learned
      throw error;
    }
  };
}
