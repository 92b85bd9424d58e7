import type { TokenRecord } from '../../src/tokens/token-store.ts';
import { claims } from './claims.ts';
import type { History, Interval, Session } from './history.ts';
import type { Instance } from './instance.ts';

/** As in decision 25: no record is used from memory if announcements may not have arrived for this long. */
const maxUnconfirmedMs = 250;
/** From a write to the announcement at every process, when nothing fails: four messages of a millisecond at most. */
const maxAnnounceMs = 20;
/** Connections keep the order of messages, so that one which is late delays those that follow it. */
const afterSlowMs = 3_000;

interface FreshnessParts {
  readonly history: History;
  readonly nowMs: () => number;
  readonly cacheMs: number;
  readonly instances: () => readonly Instance[];
}

/** Judges how old the records are with which processes serve requests (decision 25). */
export class Freshness {
  readonly #parts: FreshnessParts;

  constructor(parts: FreshnessParts) {
    this.#parts = parts;
  }

  /**
   * The record with which this process serves a request that begins now must have been the newest one at this time, or
   * later.
   */
  boundOf(process: Instance, { id }: Session): number {
    const { nowMs, cacheMs } = this.#parts;
    const now = nowMs();
    if (cacheMs === 0 || this.#isCutOff(process, now - maxUnconfirmedMs, now)) return now;
    const heardAt = Math.max(process.heardChanges.get(id) ?? 0, process.gaps.at(-1) ?? 0);
    return Math.max(now - cacheMs, process.ownChanges.lastAt(id), heardAt);
  }

  /** Judges the record with which `process` serves a request that began at `startedAt`. */
  judge(session: Session, record: TokenRecord, process: Instance, startedAt: number, bound: number): void {
    const { history, nowMs } = this.#parts;
    if (this.#isUnreachable(process, startedAt - maxUnconfirmedMs, nowMs()))
      history.violate(claims.fresh, `${process.name} serves ${session.id} without Redis`);
    const token = record.tokens.refreshToken ?? '';
    const supersededAt = history.supersededAt(session.id, token);
    if (supersededAt >= startedAt) return;
    const text = `${process.name} serves ${session.id} with ${token}, ${Math.round(startedAt - supersededAt)} ms after its end`;
    if (history.hasDataLossSince(supersededAt)) history.accept('older record: Redis lost writes');
    else if (supersededAt < bound) history.violate(claims.fresh, text);
    else if (startedAt - supersededAt > maxAnnounceMs && !this.#hadTrouble(supersededAt, startedAt))
      history.violate(claims.announced, text);
  }

  /** True when no announcement can have reached this process in all of this time. */
  #isCutOff(process: Instance, from: number, to: number): boolean {
    const { history } = this.#parts;
    const hangs = history.intervalsOf(history.subscriptionOutages, process);
    return this.#isUnreachable(process, from, to) || hangs.some(containing(from, to));
  }

  /** True when this process could not reach Redis in all of this time. */
  #isUnreachable(process: Instance, from: number, to: number): boolean {
    const { history } = this.#parts;
    const links = history.intervalsOf(history.linkOutages, process);
    return [history.redisOutages, links].some((intervals) => intervals.some(containing(from, to)));
  }

  /** True when the announcement of something that was written at `writtenAt` may be late. */
  #hadTrouble(writtenAt: number, to: number): boolean {
    const { history, instances } = this.#parts;
    const from = writtenAt - maxAnnounceMs;
    const touches = (intervals: readonly Interval[], marginMs = 0) =>
      intervals.some((each) => each.from <= to && each.to >= from - marginMs);
    const ofProcesses = [history.linkOutages, history.subscriptionOutages, history.pauses].flatMap((each) => [
      ...each.values(),
    ]);
    return (
      touches(history.redisOutages) ||
      touches(history.slowTimes, afterSlowMs) ||
      ofProcesses.some((each) => touches(each)) ||
      instances().some(({ wasKilled, diedAt = 0 }) => wasKilled && diedAt >= from && diedAt <= to)
    );
  }
}

const containing = (from: number, to: number) => (each: Interval) => each.from <= from && each.to >= to;
