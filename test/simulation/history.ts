import type { Instance } from './instance.ts';
import type { Grant } from './provider.ts';
import type { VirtualTime } from './virtual-time.ts';

/** A session as its user sees it. */
export interface Session {
  readonly id: string;
  readonly user: string;
  readonly grant: Grant;
  /** The login that it came from (see RefreshToken.login). */
  readonly login: number;
  readonly startedAt: number;
  /** Its user has asked for its end, or a new login has replaced it; it may still exist. */
  endRequestedAt: number | undefined;
  /** Its user has clicked "Sign out". */
  signOutRequestedAt: number | undefined;
  /** When they clicked it last: a sign-out that failed is tried again. */
  signOutRequestedLastAt: number | undefined;
  signOutCount: number;
  /** Latchkey has confirmed the sign-out. */
  signedOutAt: number | undefined;
  replacedBy: string | undefined;
  readonly replaces: string | undefined;
  /** When its record was removed because of a new login. */
  removedAt: number | undefined;
  /** When it was last used successfully. */
  usedAt: number;
}

export interface Interval {
  readonly from: number;
  to: number;
}

/** A broken claim. */
export interface Violation {
  readonly claim: string;
  readonly atMs: number;
  readonly text: string;
}

/** What has happened in a run, as far as the claims need it. */
export class History {
  readonly sessions = new Map<string, Session>();
  readonly violations: Violation[] = [];
  /** What the decisions accept, by reason. */
  readonly accepted = new Map<string, number>();
  readonly timeline: string[] = [];
  readonly pauses = new Map<Instance, Interval[]>();
  readonly linkOutages = new Map<Instance, Interval[]>();
  /** When the connection hung on which a process receives announcements. */
  readonly subscriptionOutages = new Map<Instance, Interval[]>();
  readonly redisOutages: Interval[] = [];
  /** Those in which no connection broke, so that no process waited for the others to reconnect. */
  readonly redisStalls: Interval[] = [];
  /** When replies of Redis could take longer than a command may. */
  readonly slowTimes: Interval[] = [];
  /** When Redis lost data: everything, or its last writes. */
  readonly dataLosses: number[] = [];
  /** By session: when its records were written, with the generation of the refresh token in each. */
  readonly recordWrites = new Map<string, { readonly at: number; readonly refreshToken: string }[]>();
  /** By session: when its record was removed. */
  readonly recordRemovals = new Map<string, number[]>();

  constructor(
    private readonly time: VirtualTime,
    private readonly isRecording: boolean,
  ) {}

  note(text: string): void {
    if (this.isRecording) this.timeline.push(`${(this.time.nowMs / 1000).toFixed(3).padStart(8)} s  ${text}`);
  }

  violate(claim: string, text: string): void {
    this.note(`VIOLATION of ${claim}: ${text}`);
    this.violations.push({ claim, atMs: this.time.nowMs, text });
  }

  accept(reason: string): void {
    this.accepted.set(reason, (this.accepted.get(reason) ?? 0) + 1);
    this.note(`accepted: ${reason}`);
  }

  begin(intervals: Interval[]): void {
    intervals.push({ from: this.time.nowMs, to: Number.POSITIVE_INFINITY });
  }

  end(intervals: Interval[]): void {
    const last = intervals.at(-1);
    if (last && last.to === Number.POSITIVE_INFINITY) last.to = this.time.nowMs;
  }

  intervalsOf(of: Map<Instance, Interval[]>, instance: Instance): Interval[] {
    const intervals = of.get(instance) ?? [];
    of.set(instance, intervals);
    return intervals;
  }

  /** How much of the time from `from` to `to` the intervals cover. */
  covered(intervals: readonly Interval[], from: number, to: number): number {
    return intervals.reduce(
      (sum, each) => sum + Math.max(0, Math.min(each.to, to) - Math.max(each.from, from)),
      0,
    );
  }

  /** When the record with this token was changed or removed: Infinity while it is the newest one. */
  supersededAt(id: string, refreshToken: string): number {
    const writes = this.recordWrites.get(id) ?? [];
    const last = writes.findLastIndex((each) => each.refreshToken === refreshToken);
    if (last < 0) return Number.NEGATIVE_INFINITY;
    const removedAt = this.recordRemovals.get(id)?.find((at) => at >= writes[last]!.at);
    return Math.min(...[writes[last + 1]?.at, removedAt].map((each) => each ?? Number.POSITIVE_INFINITY));
  }

  hasDataLossSince(from: number): boolean {
    return this.dataLosses.some((at) => at >= from);
  }
}
