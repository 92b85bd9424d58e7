import type { Sealer } from '../../src/crypto/sealing.ts';
import { type Claims, Claims as ClaimsJudge, claims } from './claims.ts';
import { Freshness } from './freshness.ts';
import { History, type Session } from './history.ts';
import { describe, Instance, loadConfig } from './instance.ts';
import type { Modules } from './modules.ts';
import { type Grant, Provider } from './provider.ts';
import { createRandom, type Random } from './random.ts';
import { RedisNetwork } from './redis-network.ts';
import { RedisServer } from './redis-server.ts';
import type { Fault, Schedule, Step } from './schedule.ts';
import { createUserActions } from './user-actions.ts';
import { install, type Owner, VirtualTime } from './virtual-time.ts';

export interface Browser {
  readonly name: string;
  session: Session | undefined;
  readonly grants: Map<string, Grant>;
}

export interface RunResult {
  readonly history: History;
  readonly events: number;
  readonly refreshes: number;
  readonly requests: number;
  readonly revocations: number;
}

/** Runs one schedule to its end and judges it. The same schedule and seed give the same run. */
export async function runSchedule(
  modules: Modules,
  schedule: Schedule,
  seed: number,
  isRecording = false,
): Promise<RunResult> {
  const time = new VirtualTime(createRandom(seed, 'product'));
  install(time);
  const world = new World(modules, schedule, seed, time, isRecording);
  await world.run();
  return {
    history: world.history,
    events: time.eventCount,
    refreshes: world.provider.refreshCount,
    requests: world.requests,
    revocations: world.provider.revocations.size,
  };
}

/** All processes, Redis, the provider and the browsers of one run. */
export class World {
  readonly history: History;
  readonly server: RedisServer;
  readonly network: RedisNetwork;
  readonly provider: Provider;
  readonly claims: Claims;
  readonly freshness: Freshness;
  readonly browsers: readonly Browser[];
  readonly random: Random;
  requests = 0;
  readonly #slots: (Instance | undefined)[];
  readonly #everyInstance: Instance[] = [];
  readonly #sealer: Sealer;
  readonly #tokenKeyParts: { readonly start: string; readonly end: string };
  #secrets: string[];
  #isQuiet = false;
  readonly #script: Owner = { name: 'script', skewMs: 0, isDead: false, pausedUntil: 0 };
  readonly #act: ReturnType<typeof createUserActions>;

  constructor(
    readonly modules: Modules,
    readonly schedule: Schedule,
    seed: number,
    readonly time: VirtualTime,
    isRecording: boolean,
  ) {
    this.random = createRandom(seed, 'world');
    this.history = new History(time, isRecording);
    this.server = new RedisServer(() => time.nowMs);
    this.network = new RedisNetwork(time, this.server, createRandom(seed, 'network'));
    this.provider = new Provider(time, createRandom(seed, 'provider'), schedule.provider);
    this.provider.condition = schedule.condition;
    this.provider.onEvent = (text) => this.history.note(text);
    this.claims = new ClaimsJudge({
      history: this.history,
      provider: this.provider,
      nowMs: () => time.nowMs,
    });
    this.freshness = new Freshness({
      history: this.history,
      nowMs: () => time.nowMs,
      cacheMs: schedule.cacheMs,
      instances: () => this.#everyInstance,
    });
    this.browsers = Array.from({ length: schedule.browsers }, (_, index) => ({
      name: `browser ${index}`,
      session: undefined,
      grants: new Map(),
    }));
    // Reads the records of every instance.
    const { session } = loadConfig(modules, ['old', 'new'].map(secretOf).join(','), schedule);
    const { compressedText } = modules.compressedText;
    this.#sealer = modules.sealing.createSealer(session, 'tokens', compressedText);
    const { defaultKeyPrefix, sessionKeyParts } = modules.keys;
    this.#tokenKeyParts = sessionKeyParts(defaultKeyPrefix, session.registration, 'tokens');
    this.#secrets = Array.from({ length: schedule.instances }, () => schedule.secrets);
    this.#slots = Array.from({ length: schedule.instances }, () => undefined);
    this.#act = createUserActions(this);
    this.network.onMessage = (owner, message) => this.#onMessage(owner, message);
    this.server.onWrite = (key, before, after) => this.#onWrite(key, before, after);
  }

  async run(): Promise<void> {
    const { time, schedule } = this;
    for (let slot = 0; slot < schedule.instances; slot += 1) this.#start(slot);
    for (const step of schedule.steps) time.schedule(step.atMs, () => this.#step(step), this.#script);
    await time.runUntil(schedule.trafficMs);
    this.#calmDown();
    const endMs = schedule.trafficMs + schedule.quietMs;
    for (let atMs = 7_000; atMs < schedule.quietMs - 20_000; atMs += 11_000)
      time.schedule(
        atMs,
        () => {
          for (const [index] of this.browsers.entries())
            this.#act({ kind: 'call', browser: index, instance: Math.floor(atMs / 11_000) + index });
        },
        this.#script,
      );
    await time.runUntil(endMs);
    this.#judge();
  }

  /** A process that serves requests: this one, or else another. */
  pick(index: number): Instance | undefined {
    const serving = this.#slots.filter((each) => each?.isServing) as Instance[];
    const wanted = this.#slots[index % this.#slots.length];
    return wanted?.isServing ? wanted : serving[index % Math.max(1, serving.length)];
  }

  #start(slot: number): void {
    const { modules, time, network, provider, schedule, history, random } = this;
    const name = `P${slot}${'abcdefgh'[this.#everyInstance.filter((each) => each.name.startsWith(`P${slot}`)).length] ?? '+'}`;
    const instance = new Instance({
      ...{ modules, time, network, provider, name },
      skewMs: schedule.skewsMs[slot] ?? 0,
      secrets: this.#secrets[slot]!.split(',').map(secretOf).join(','),
      ...{ idleSeconds: schedule.idleSeconds, cacheMs: schedule.cacheMs },
      waitReplicas: schedule.waitReplicas,
      confirmWait: () => !random.chance(schedule.isFaultless ? 0 : 0.01),
      onLog: (text) => history.note(text),
    });
    this.#slots[slot] = instance;
    this.#everyInstance.push(instance);
    history.note(`${name} starts`);
  }

  #step(step: Step): void {
    switch (step.kind) {
      case 'at_refresh': {
        const wanted = this.provider.refreshCount + step.nth;
        this.provider.onRefresh.push({
          count: wanted,
          run: () => this.time.schedule(step.offsetMs, () => this.fault(step.fault), this.#script),
        });
        return;
      }
      case 'login':
      case 'call':
      case 'page':
      case 'refresh':
      case 'rejected':
      case 'sign_out':
      case 'app_call':
      case 'state':
      case 'form':
        this.#act(step);
        return;
      default:
        this.fault(step);
    }
  }

  fault(fault: Fault): void {
    if (this.#isQuiet) return;
    const { history, network, time } = this;
    history.note(`fault: ${JSON.stringify(fault)}`);
    const after = (ms: number, run: () => void) =>
      time.schedule(ms, () => this.#isQuiet || run(), this.#script);
    switch (fault.kind) {
      case 'kill':
      case 'stop': {
        const instance = this.#slots[fault.instance % this.#slots.length];
        if (!instance || instance.isDead) return;
        const slot = this.#slots.indexOf(instance);
        if (fault.kind === 'stop' && fault.secrets !== undefined) this.#secrets[slot] = fault.secrets;
        const restart = () => time.schedule(fault.restartAfterMs, () => this.#start(slot), this.#script);
        if (fault.kind === 'kill') {
          instance.kill();
          restart();
        } else if (instance.isServing) {
          instance.stop(() =>
            time.as(this.#script, () => {
              history.note(`${instance.name} has ended`);
              restart();
            }),
          );
        }
        return;
      }
      case 'pause': {
        const instance = this.#slots[fault.instance % this.#slots.length];
        if (!instance || instance.pausedUntil > time.nowMs) return;
        instance.pausedUntil = time.nowMs + fault.ms;
        history.intervalsOf(history.pauses, instance).push({ from: time.nowMs, to: instance.pausedUntil });
        return;
      }
      case 'redis':
        if (network.serverReachability !== 'up') return;
        network.set(fault.reachability);
        history.begin(history.redisOutages);
        if (fault.reachability === 'silent') history.begin(history.redisStalls);
        // A lease is no data: its holder takes it back.
        if (this.server.failOver(fault.lostWrites ?? 0).some((key) => !key.endsWith(':lease')))
          history.dataLosses.push(time.nowMs);
        after(fault.ms, () => this.#endRedisOutage(fault.reachability));
        return;
      case 'link': {
        const instance = this.#slots[fault.instance % this.#slots.length];
        if (!instance || network.linkReachability(instance) !== 'up') return;
        network.set(fault.reachability, instance);
        history.begin(history.intervalsOf(history.linkOutages, instance));
        after(fault.ms, () => this.#endLinkOutage(instance, fault.reachability));
        return;
      }
      case 'subscription': {
        const instance = this.#slots[fault.instance % this.#slots.length];
        if (!instance) return;
        const intervals = history.intervalsOf(history.subscriptionOutages, instance);
        const end = network.hangSubscription(instance, () => history.end(intervals));
        if (!end) return;
        history.begin(intervals);
        time.schedule(fault.ms, () => end(fault.reachability === 'lost'), this.#script);
        return;
      }
      case 'flush':
        this.server.flush();
        history.dataLosses.push(time.nowMs);
        return;
      case 'slow_network':
        network.slowShare = fault.share;
        network.slowMaxMs = fault.maxMs;
        history.begin(history.slowTimes);
        after(fault.ms, () => {
          network.slowShare = 0;
          history.end(history.slowTimes);
        });
        return;
      case 'provider':
        this.provider.condition = fault.condition;
        after(fault.ms, () => {
          this.provider.condition = this.schedule.condition;
        });
    }
  }

  #endRedisOutage(reachability: string): void {
    if (reachability === 'lost') this.network.breakConnections();
    this.network.set('up');
    this.history.end(this.history.redisOutages);
    this.history.end(this.history.redisStalls);
    this.history.note('Redis is back');
  }

  #endLinkOutage(instance: Instance, reachability: string): void {
    if (reachability === 'lost') this.network.breakConnections(instance);
    this.network.set('up', instance);
    this.history.end(this.history.intervalsOf(this.history.linkOutages, instance));
  }

  #calmDown(): void {
    const { network, history } = this;
    this.#isQuiet = true;
    history.note('the faults are over');
    this.time.as(this.#script, () => {
      network.slowShare = 0;
      if (network.serverReachability !== 'up') network.breakConnections();
      network.set('up');
      history.end(history.redisOutages);
      history.end(history.redisStalls);
      history.end(history.slowTimes);
      for (const [slot, instance] of this.#slots.entries()) {
        if (!instance) continue;
        network.set('up', instance);
        history.end(history.intervalsOf(history.linkOutages, instance));
        if (instance.isDead && this.#slots[slot] === instance) this.#start(slot);
      }
      this.provider.condition = this.schedule.condition;
    });
  }

  /** The refresh token in a sealed record; `undefined` without a record. */
  refreshTokenOf(id: string): string | undefined {
    const { start, end } = this.#tokenKeyParts;
    const key = start + id + end;
    const sealed = this.server.read(key);
    return sealed && this.#unseal(key, sealed);
  }

  #unseal(key: string, sealed: Buffer): string | undefined {
    const record = this.#sealer.unseal(sealed, key) as { tokens: { refreshToken: string } } | undefined;
    return record?.tokens.refreshToken;
  }

  #onMessage(owner: Owner, message: string): void {
    const instance = this.#everyInstance.find((each) => each === owner);
    instance?.heardChanges.set(message.split(' ')[0]!, this.time.nowMs);
  }

  #onWrite(key: string, before: Buffer | undefined, after: Buffer | undefined): void {
    const { start, end } = this.#tokenKeyParts;
    if (!key.startsWith(start) || !key.endsWith(end)) return;
    const id = key.slice(start.length, -end.length);
    const { history, provider } = this;
    if (!after && before) {
      history.note(`Redis: ${id} has no record`);
      history.recordRemovals.set(id, [...(history.recordRemovals.get(id) ?? []), this.time.nowMs]);
    }
    if (!after || (before && after.equals(before))) return;
    const tokenOf = (sealed: Buffer) => provider.refreshTokens.get(this.#unseal(key, sealed) ?? '');
    const [old, next] = [before && tokenOf(before), tokenOf(after)];
    if (!next) return;
    history.note(`Redis: ${id} has ${next.value}`);
    const writes = history.recordWrites.get(id) ?? [];
    writes.push({ at: this.time.nowMs, refreshToken: next.value });
    history.recordWrites.set(id, writes);
    if (old && next.generation < old.generation)
      history.violate(claims.newest, `${id}: ${next.value} over ${old.value}`);
    const session = history.sessions.get(id);
    const endedAt = session?.signedOutAt ?? session?.removedAt;
    if (endedAt !== undefined && !history.hasDataLossSince((session?.signOutRequestedAt ?? endedAt) - 3_000))
      history.violate(claims.final, `${id} has a record again`);
  }

  #judge(): void {
    const { history, claims: judge, schedule, provider, server } = this;
    judge.judgeProvider();
    for (const session of history.sessions.values()) {
      const stored = this.refreshTokenOf(session.id);
      if (session.signedOutAt !== undefined) judge.judgeEnded(session, stored !== undefined);
      else if (session.removedAt !== undefined) judge.judgeRemoved(session, stored !== undefined);
      else if (session.endRequestedAt === undefined && !this.isExpired(session)) {
        if (stored === undefined) judge.judgeSignedOut(session, 'the end of the run');
        else judge.judgeStored(session, stored);
      }
    }
    const outbox = server.keys().find((key) => key.startsWith('latchkey:revocations:'));
    const pending = outbox === undefined ? 0 : server.streamLength(outbox);
    if (pending > 0) history.violate(claims.revoked, `${pending} revocations are still in the outbox`);
    if (schedule.isFaultless)
      for (const [token, times] of provider.revocations)
        if (times > 1 && times <= this.#signOutsOf(token))
          history.accept('revoked twice: two sign-outs at the same moment');
        else if (times > 1) history.violate(claims.revoked, `${token} was revoked ${times} times`);
    this.#judgeEvents();
  }

  /** How often the user has signed out of the session that this token belongs to. */
  #signOutsOf(token: string): number {
    const login = Number(/-(\d+)\./.exec(token)?.[1]);
    return [...this.history.sessions.values()].find((each) => each.login === login)?.signOutCount ?? 0;
  }

  #judgeEvents(): void {
    const { history } = this;
    for (const session of history.sessions.values()) {
      // The event is published between the two.
      const [from, at] = [session.signOutRequestedAt, session.signedOutAt];
      if (from === undefined || at === undefined) continue;
      const hadTrouble =
        history.covered([...history.redisOutages, ...history.slowTimes], from - 3_000, at + 3_000) > 0 ||
        history.dataLosses.some((lost) => lost > from - 3_000 && lost < at + 3_000);
      for (const instance of this.#everyInstance) {
        if (hadTrouble || instance.isDead || instance.startedAt > from - 3_000) continue;
        const links = history.intervalsOf(history.linkOutages, instance);
        const pauses = history.intervalsOf(history.pauses, instance);
        if (history.covered([...links, ...pauses], from - 3_000, at + 3_000) > 0) continue;
        const heardAt = instance.heardEnds.get(session.id);
        if (heardAt === undefined && !instance.gaps.some((gap) => gap >= from))
          history.violate(claims.heard, `${instance.name} of ${session.id}`);
      }
    }
  }

  isExpired({ usedAt }: Session): boolean {
    return this.time.nowMs - usedAt > this.schedule.idleSeconds * 1000 * 0.7;
  }

  /** The text of an error, for the timeline. */
  readonly describe = describe;
}

/** The value of the secret with this name. */
export const secretOf = (name: string) => `the-${name}-secret-of-the-simulation-0123456789`;
