import type { History, Session } from './history.ts';
import type { Instance } from './instance.ts';
import type { Provider, RefreshToken, SecondUse, Use } from './provider.ts';

/** After this time without contact, the others treat a process as dead: the six seconds of a lease (decision 7), less the time since it was last extended. */
const maxAbsenceMs = 5_000;

/** The claims, in the words of docs/reliability.md. */
export const claims = {
  once: 'a refresh token is sent once',
  pause: 'after a failure nobody sends the refresh token again before the pause is over',
  final: 'a session that has ended leaves no record and no valid token',
  newest: 'an older record never overwrites a newer one',
  signedIn: 'nobody is signed out without a reason',
  kept: 'tokens that were granted are stored',
  revoked: 'revocations are carried out, and once if nothing fails',
  appTokens: 'app tokens are requested once, and a failure affects no caller that has a token',
  singleUse: 'login states and saved forms are used once',
  fresh:
    'a request is served with the newest record, or with one from memory within the limits of decision 25',
  announced: 'while nothing fails, a change on one process is known to the others within milliseconds',
  heard: 'every process hears of the end of a session, or that it may have missed it',
} as const;

interface ClaimParts {
  readonly history: History;
  readonly provider: Provider;
  readonly nowMs: () => number;
}

/** The excuses and checks that concern refresh tokens. */
export class Claims {
  readonly #history: History;
  readonly #provider: Provider;
  readonly #nowMs: () => number;
  #secondUsesSeen = 0;
  #brokenPausesSeen = 0;

  constructor({ history, provider, nowMs }: ClaimParts) {
    this.#history = history;
    this.#provider = provider;
    this.#nowMs = nowMs;
  }

  /** Judges what the provider has seen since the last call. */
  judgeProvider(): void {
    const { secondUses, brokenPauses } = this.#provider;
    for (; this.#secondUsesSeen < secondUses.length; this.#secondUsesSeen += 1) {
      const second = secondUses[this.#secondUsesSeen]!;
      const excuse = this.excuseOf(second);
      const text = `${second.token.value}: first by ${second.first.by.name}, then by ${second.by.name}`;
      if (excuse) this.#history.accept(`sent twice: ${excuse}`);
      else this.#history.violate(claims.once, text);
    }
    for (; this.#brokenPausesSeen < brokenPauses.length; this.#brokenPausesSeen += 1) {
      const { token, at, by } = brokenPauses[this.#brokenPausesSeen]!;
      const hadTrouble =
        this.#history.covered([...this.#history.redisOutages, ...this.#history.slowTimes], at - 6_000, at) >
          0 ||
        [...this.#history.linkOutages.values()].some(
          (each) => this.#history.covered(each, at - 6_000, at) > 0,
        ) ||
        [...this.#history.pauses.values()].some((each) => this.#history.covered(each, at - 6_000, at) > 0) ||
        this.#history.hasDataLossSince(at - 6_000);
      if (hadTrouble) this.#history.accept('sent within the pause: the failure could not be stored');
      else this.#history.violate(claims.pause, `${token} by ${by.name}`);
    }
  }

  /** Why a token may be sent again; `undefined`: there is no reason. */
  excuseOf({ first, at, by: second }: SecondUse): string | undefined {
    const by = first.by as Instance;
    // The process died with its request under way, and the provider processed the request of its successor first.
    if (at < first.sentAt && (second as Instance).wasKilled) return 'its process was killed';
    const wasStoredAt = this.#storedAt(first.next);
    if (wasStoredAt !== undefined && wasStoredAt <= at)
      return this.#history.hasDataLossSince(first.sentAt - 1) ? 'Redis lost writes' : undefined;
    if (this.#history.dataLosses.some((lost) => lost >= first.sentAt - 7_000 && lost <= at))
      return 'Redis lost writes';
    if (by.wasKilled && by.diedAt !== undefined && by.diedAt <= at) return 'its process was killed';
    if (first.failedAt !== undefined && first.failedAt <= at) return 'the response was lost';
    return this.#absence(by, first.sentAt, at);
  }

  #absence(by: Instance, from: number, to: number): string | undefined {
    const history = this.#history;
    const paused = history.covered(history.intervalsOf(history.pauses, by), from - 1_000, to);
    const cutOff = history.covered(history.intervalsOf(history.linkOutages, by), from - 1_000, to);
    const away = history.covered(history.redisOutages, from - 1_000, to);
    const cutOffAlone = history
      .intervalsOf(history.linkOutages, by)
      .map((each) => ({ from: Math.max(each.from, from - 1_000), to: Math.min(each.to, to) }))
      .reduce(
        (sum, each) =>
          sum + Math.max(0, each.to - each.from - history.covered(history.redisOutages, each.from, each.to)),
        0,
      );
    if (paused > maxAbsenceMs) return 'its process was held up';
    if (cutOff > maxAbsenceMs) return 'its process was cut off from Redis';
    if (paused > 1_000 && paused + cutOff + away > maxAbsenceMs)
      return 'its process was held up while Redis was unavailable';
    if (cutOffAlone > 2_000 && cutOff + away > maxAbsenceMs) return 'its process was cut off from Redis';
    const slow = history.covered(history.slowTimes, from - 1_000, to);
    if (cutOffAlone > 2_000 && cutOff + away + slow > maxAbsenceMs)
      return 'its process was cut off from Redis, and reconnected over a slow network';
    // After a stall nobody waits for others to reconnect: the holder has to take its lease back at once, and could not.
    const stalled = history.covered(history.redisStalls, from - 1_000, to);
    if (cutOffAlone > 0 && cutOff + stalled > maxAbsenceMs)
      return 'its process was cut off from Redis at the end of a stall';
    return undefined;
  }

  #storedAt(token: RefreshToken): number | undefined {
    for (const session of this.#history.sessions.values()) {
      const write = this.#history.recordWrites
        .get(session.id)
        ?.find((each) => each.refreshToken === token.value);
      if (write) return write.at;
    }
    return undefined;
  }

  /** Judges that a session which nobody has ended is gone. */
  judgeSignedOut(session: Session, where: string): void {
    this.judgeProvider();
    const excuse = this.#excuseOfEnd(session);
    if (excuse) this.#history.accept(`signed out: ${excuse}`);
    else this.#history.violate(claims.signedIn, `${session.id} (${session.user}) at ${where}`);
  }

  #excuseOfEnd({ grant, startedAt, replaces }: Session): string | undefined {
    if (this.#history.hasDataLossSince(startedAt)) return 'Redis lost writes';
    // While this login was in progress, its user signed out in another tab, which may have revoked the grant before the
    // provider issued a new one.
    for (const other of this.#history.sessions.values())
      if (
        (other.grant === grant || other.id === replaces) &&
        (other.signOutRequestedLastAt ?? Number.NEGATIVE_INFINITY) > startedAt - 2_000
      )
        return 'its user signed out in another tab meanwhile';
    // Two tabs signed in as different users at the same moment, and one of them revoked the tokens that both replaced.
    const replaced = [...this.#history.sessions.values()].filter((each) => each.grant === grant);
    for (const other of this.#history.sessions.values())
      if (
        other.grant !== grant &&
        replaced.some(({ id }) => other.replaces === id) &&
        other.startedAt > startedAt - 5_000
      )
        return 'two users signed in in two tabs at the same moment';
    const reasons = this.#provider.secondUses
      .filter(({ token }) => token.grant === grant)
      .map((second) => this.excuseOf(second));
    if (grant.revokedBy === 'reuse' && reasons.every((each) => each !== undefined)) return reasons[0];
    return undefined;
  }

  /** At the end: the record of a live session has tokens that still work. */
  judgeStored(session: Session, stored: string | undefined): void {
    if (session.grant.isRevoked) return;
    const token = stored === undefined ? undefined : this.#provider.refreshTokens.get(stored);
    if (token && !token.used && !token.isRevoked) return;
    const lost = token?.used ?? this.#newestUseOf(session);
    const excuse = lost && this.#excuseOfLoss(lost);
    if (excuse) this.#history.accept(`not stored: ${excuse}`);
    else this.#history.violate(claims.kept, `${session.id} has ${stored ?? 'no record'}`);
  }

  /** At the end: a session that was replaced has no record. */
  judgeRemoved(session: Session, hasRecord: boolean): void {
    const ended = (session.signOutRequestedAt ?? session.removedAt)!;
    if (hasRecord) {
      if (this.#history.hasDataLossSince(ended - 1_000))
        this.#history.accept('record after the end: Redis lost writes');
      else this.#history.violate(claims.final, `${session.id} has a record after its end`);
    }
  }

  /** At the end: nothing of a session that its user has ended is valid. */
  judgeEnded(session: Session, hasRecord: boolean): void {
    this.judgeRemoved(session, hasRecord);
    for (const token of this.#provider.refreshTokens.values()) {
      if (token.login !== session.login || token.used || !this.#provider.isActive(token)) continue;
      const use = this.#useThatIssued(token);
      const excuse = use && (this.#excuseOfLoss(use) ?? this.#excuseOfSecondGrant(use));
      if (this.#history.hasDataLossSince(session.startedAt))
        this.#history.accept('valid after the end: Redis lost writes');
      else if (excuse) this.#history.accept(`valid after the end: ${excuse}`);
      else this.#history.violate(claims.final, `${token.value} of ${session.id} is valid after the end`);
    }
  }

  #newestUseOf({ login }: Session): Use | undefined {
    return this.#provider.uses.filter(({ next }) => next.login === login).at(-1);
  }

  #useThatIssued(token: RefreshToken): Use | undefined {
    return this.#provider.uses.find(({ next }) => next === token);
  }

  /** Why a provider with a grace period may have granted tokens twice; only one of the grants is stored. */
  #excuseOfSecondGrant(use: Use): string | undefined {
    const second = this.#provider.secondUses.find(({ by, at }) => by === use.by && at === use.sentAt);
    return second && this.excuseOf(second);
  }

  /** Why tokens that were granted may be lost. */
  #excuseOfLoss(use: Use): string | undefined {
    const by = use.by as Instance;
    if (use.deliveredAt === undefined)
      return by.wasKilled ? 'its process was killed' : 'the response was lost';
    if (by.wasKilled) return 'its process was killed';
    if (this.#history.hasDataLossSince(use.sentAt - 7_000)) return 'Redis lost writes';
    return this.#absence(by, use.sentAt, this.#nowMs());
  }
}
