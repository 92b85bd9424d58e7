import type { ProviderCondition } from './provider.ts';
import { createRandom, type Random } from './random.ts';
import type { Reachability } from './redis-network.ts';
import type { Fault, Schedule, Step } from './schedule.ts';

/** How the random schedules of a profile are made. Times in milliseconds. */
interface Profile {
  readonly describe: string;
  readonly providerMs: readonly [min: number, max: number];
  readonly faults?: Partial<Record<FaultKind, number>>;
  readonly maxOutageMs?: number;
  readonly maxSkewMs?: number;
  /** Requests of one browser at the same moment. */
  readonly maxBurst?: number;
  /** Faults happen at refreshes, not at random moments. */
  readonly isAimed?: boolean;
  readonly idleSeconds?: number;
  readonly graceMs?: number;
  readonly isRolling?: boolean;
  /** How often at most a session ends or changes under a page, just after a fault in the process that serves it. */
  readonly scenes?: number;
}

type FaultKind =
  | 'kill'
  | 'stop'
  | 'pause'
  | 'redis'
  | 'link'
  | 'subscription'
  | 'fail_over'
  | 'flush'
  | 'slow_network'
  | 'provider';

const trafficMs = 60_000;
const quietMs = 240_000;

/** The profiles, by name. */
export const profiles: Readonly<Record<string, Profile>> = {
  calm: { describe: 'nothing fails, provider 20 ms to 9 s', providerMs: [20, 9_000], maxSkewMs: 1_000 },
  'calm-slow': { describe: 'nothing fails, provider 0.2 to 3 s', providerMs: [200, 3_000], maxSkewMs: 1_000 },
  standard: {
    describe: 'every kind of fault, up to 4 s',
    providerMs: [20, 3_000],
    maxOutageMs: 4_000,
    faults: { redis: 2, link: 1, slow_network: 1, provider: 2, pause: 1 },
  },
  storm: {
    describe: 'as standard, up to 60 requests at once',
    providerMs: [20, 3_000],
    maxOutageMs: 4_000,
    maxBurst: 60,
    faults: { redis: 1, link: 1, slow_network: 1, provider: 1 },
  },
  kills: {
    describe: 'processes are killed',
    providerMs: [20, 3_000],
    maxOutageMs: 4_000,
    faults: { kill: 4, redis: 1, provider: 1 },
  },
  leaving: {
    describe: 'processes get SIGTERM at refreshes, Redis is unavailable up to 8 s',
    providerMs: [200, 5_000],
    maxOutageMs: 8_000,
    isAimed: true,
    faults: { stop: 4, redis: 2, provider: 1 },
  },
  long: {
    describe: 'Redis is unavailable up to 20 s',
    providerMs: [20, 9_000],
    maxOutageMs: 20_000,
    faults: { redis: 3, link: 1, provider: 1, kill: 1 },
  },
  harsh: {
    describe: 'everything, up to 90 s',
    providerMs: [20, 9_000],
    maxOutageMs: 90_000,
    maxBurst: 20,
    faults: { redis: 2, link: 1, provider: 2, kill: 2, stop: 2, pause: 2, slow_network: 1 },
  },
  failover: {
    describe: 'Redis loses one to five writes',
    providerMs: [20, 6_000],
    maxOutageMs: 3_000,
    faults: { fail_over: 4, provider: 1 },
  },
  'data-loss': {
    describe: 'Redis loses everything',
    providerMs: [20, 2_000],
    maxOutageMs: 2_000,
    faults: { flush: 2, kill: 1 },
  },
  aimed: {
    describe: 'faults up to 4 s at refreshes',
    providerMs: [20, 5_000],
    maxOutageMs: 4_000,
    isAimed: true,
    faults: { redis: 4, link: 1, slow_network: 1, provider: 1 },
  },
  'aimed-long': {
    describe: 'faults up to 75 s at refreshes',
    providerMs: [20, 9_000],
    maxOutageMs: 75_000,
    isAimed: true,
    faults: { redis: 3, stop: 1, kill: 1 },
  },
  short: {
    describe: 'sessions end after 25 s without use',
    providerMs: [20, 3_000],
    maxOutageMs: 4_000,
    idleSeconds: 25,
    faults: { redis: 2, provider: 1 },
  },
  grace: {
    describe: 'the provider has a grace period of 30 s; processes are killed',
    providerMs: [20, 3_000],
    maxOutageMs: 15_000,
    graceMs: 30_000,
    isAimed: true,
    faults: { kill: 3, redis: 2, pause: 2, link: 1, provider: 2 },
  },
  pages: {
    describe: 'sessions end or change while pages send many requests, and announcements are late or lost',
    providerMs: [20, 3_000],
    maxOutageMs: 4_000,
    scenes: 8,
    faults: { subscription: 3, redis: 1, link: 1, pause: 1, slow_network: 1 },
  },
  rolling: {
    describe: 'the secret is rotated by rolling deployments',
    providerMs: [20, 3_000],
    isRolling: true,
  },
};

/** The schedule of this seed. */
export function createSchedule(name: string, seed: number): Schedule {
  const profile = profiles[name];
  if (!profile) throw new Error(`unknown profile ${name}: use one of ${Object.keys(profiles).join(', ')}`);
  const random = createRandom(seed, name);
  const instances = random.integer(2, 4);
  const browsers = random.integer(1, 4);
  const maxSkewMs = profile.maxSkewMs ?? 5_000;
  const isFaultless = profile.faults === undefined && !profile.isRolling;
  const [minMs, maxMs] = profile.providerMs;
  const slowestMs = random.between(minMs, maxMs);
  const condition: ProviderCondition = {
    minMs,
    maxMs: Math.max(minMs + 10, slowestMs),
    faultShare: 0,
    fault: 'error',
  };
  const steps = [
    ...createTraffic(random, profile, instances, browsers),
    ...createFaults(random, profile, instances),
    ...(profile.isRolling ? createDeployments(random, instances) : []),
  ];
  const cacheRandom = createRandom(seed, `${name} cache`);
  return {
    ...{ instances, browsers, isFaultless, condition, trafficMs, quietMs },
    skewsMs: Array.from({ length: instances }, () => random.between(-maxSkewMs, maxSkewMs) / 2),
    secrets: 'old',
    idleSeconds: profile.idleSeconds ?? 3_600,
    waitReplicas: profile.faults?.fail_over ? random.integer(0, 1) : 0,
    provider: {
      graceMs: profile.graceMs ?? 0,
      revokes: random.chance(0.6) ? 'grant' : 'token',
      accessTokenSeconds: random.pick([8, 15, 30]),
    },
    cacheMs: cacheRandom.chance(0.5) ? 500 : 0,
    steps: [
      ...steps,
      ...createPages(cacheRandom, steps, instances, browsers),
      ...createScenes(cacheRandom, profile, instances, browsers),
    ],
  };
}

function createTraffic(
  random: Random,
  { maxBurst = 8 }: Profile,
  instances: number,
  browsers: number,
): Step[] {
  const steps: Step[] = [];
  const instance = () => random.integer(0, instances - 1);
  const at = () => random.between(3_000, trafficMs);
  for (let browser = 0; browser < browsers; browser += 1) {
    const user = `user${random.integer(1, 2)}`;
    steps.push({ atMs: random.between(2_600, 4_000), kind: 'login', browser, instance: instance(), user });
    for (let count = random.integer(0, 4); count > 0; count -= 1) {
      const other = random.chance(0.8) ? user : `user${random.integer(1, 3)}`;
      steps.push({ atMs: at(), kind: 'login', browser, instance: instance(), user: other });
    }
    for (let count = random.integer(10, 30); count > 0; count -= 1) {
      const atMs = at();
      const burst = random.chance(0.3) ? random.integer(2, maxBurst) : 1;
      for (let each = 0; each < burst; each += 1)
        steps.push({ atMs: atMs + random.between(0, 30), kind: 'call', browser, instance: instance() });
    }
    for (let count = random.integer(0, 3); count > 0; count -= 1)
      steps.push({
        atMs: at(),
        kind: random.pick(['refresh', 'rejected'] as const),
        browser,
        instance: instance(),
      });
    for (let count = random.integer(0, 2); count > 0; count -= 1) {
      const atMs = at();
      steps.push({ atMs, kind: 'sign_out', browser, instance: instance() });
      if (random.chance(0.5))
        steps.push({
          atMs: atMs + random.between(500, 5_000),
          kind: 'sign_out',
          browser,
          instance: instance(),
        });
      if (random.chance(0.7))
        steps.push({
          atMs: atMs + random.between(1_000, 9_000),
          kind: 'login',
          browser,
          instance: instance(),
          user,
        });
    }
  }
  for (let count = random.integer(5, 20); count > 0; count -= 1)
    steps.push({ atMs: at(), kind: 'app_call', instance: instance(), scope: random.pick(['a', 'b']) });
  for (let count = 3; count > 0; count -= 1) {
    const pair = [instance(), instance()];
    steps.push({ atMs: at(), kind: 'state', nonce: `twice-${count}`, instances: pair });
    steps.push({ atMs: at(), kind: 'form', form: `form-${count}`, instances: pair });
  }
  return steps;
}

/** Pages that are open while sessions begin, change or end, or something fails. */
function createPages(random: Random, steps: readonly Step[], instances: number, browsers: number): Step[] {
  const others = steps.filter(({ kind }) => !['call', 'app_call', 'state', 'form'].includes(kind));
  return Array.from({ length: random.integer(1, 2) * browsers }, (): Step => {
    const { atMs, ...other } = random.pick(others);
    const [calls, everyMs] = [random.integer(5, 30), random.between(5, 100)];
    return {
      atMs: Math.max(3_000, atMs - random.next() * calls * everyMs),
      kind: 'page',
      browser: 'browser' in other ? other.browser : random.integer(0, browsers - 1),
      instances: Array.from({ length: random.integer(1, 2) }, () => random.integer(0, instances - 1)),
      calls,
      everyMs,
    };
  });
}

function createScenes(random: Random, profile: Profile, instances: number, browsers: number): Step[] {
  return Array.from({ length: random.integer(0, profile.scenes ?? 0) }, (): Step[] => {
    const atMs = random.between(6_000, trafficMs - 6_000);
    const [browser, reader] = [random.integer(0, browsers - 1), random.integer(0, instances - 1)];
    const changer = random.chance(0.3) ? reader : random.integer(0, instances - 1);
    const fault = createFault(random, random.pick(faultKinds(profile)), profile, instances);
    const failing = random.chance(0.7) ? reader : changer;
    return [
      {
        ...{ atMs: atMs - 1_000, kind: 'page', browser, instances: [reader] },
        ...{ calls: 80, everyMs: random.between(15, 40) },
      },
      { ...fault, ...('instance' in fault && { instance: failing }), atMs: atMs - random.between(0, 500) },
      {
        atMs: atMs + random.between(0, 300),
        kind: random.pick(['sign_out', 'refresh'] as const),
        ...{ browser, instance: changer },
      },
      { atMs: atMs + 4_000, kind: 'login', browser, instance: changer, user: 'user1' },
    ];
  }).flat();
}

const faultKinds = ({ faults = {} }: Profile) =>
  Object.entries(faults).flatMap(([kind, weight]) => Array.from({ length: weight }, () => kind as FaultKind));

function createFaults(random: Random, profile: Profile, instances: number): Step[] {
  const kinds = faultKinds(profile);
  if (kinds.length === 0) return [];
  return Array.from({ length: random.integer(1, 5) }, (): Step => {
    const fault = createFault(random, random.pick(kinds), profile, instances);
    if (!profile.isAimed) return { ...fault, atMs: random.between(3_000, trafficMs) };
    const atMs = random.between(3_000, trafficMs - 10_000);
    return {
      atMs,
      kind: 'at_refresh',
      nth: random.integer(1, 3),
      offsetMs: random.between(0, 6_000) * random.next(),
      fault,
    };
  });
}

function createFault(
  random: Random,
  kind: FaultKind,
  { maxOutageMs = 4_000 }: Profile,
  instances: number,
): Fault {
  const instance = random.integer(0, instances - 1);
  const ms = random.between(50, maxOutageMs);
  const reachability = random.pick<Reachability>(['refused', 'refused', 'silent', 'lost']);
  const restartAfterMs = random.between(100, 5_000);
  switch (kind) {
    case 'kill':
    case 'stop':
      return { kind, instance, restartAfterMs };
    case 'pause':
      return { kind, instance, ms: random.between(100, Math.min(maxOutageMs, 12_000)) };
    case 'redis':
      return { kind, reachability, ms };
    case 'link':
      return { kind, instance, reachability, ms };
    case 'subscription':
      return { kind, instance, reachability: random.pick(['silent', 'lost'] as const), ms };
    case 'fail_over':
      return { kind: 'redis', reachability: 'refused', ms, lostWrites: random.integer(1, 5) };
    case 'flush':
      return { kind };
    case 'slow_network':
      return {
        kind,
        share: random.between(0.05, 0.5),
        maxMs: random.between(200, 2_500),
        ms: random.between(500, 8_000),
      };
    case 'provider': {
      const fault = random.pick(['refused', 'busy', 'error', 'answer_lost', 'hangs'] as const);
      const condition = {
        minMs: 20,
        maxMs: random.between(100, 9_000),
        faultShare: random.between(0.2, 1),
        fault,
      };
      return { kind, condition, ms: random.between(500, 15_000) };
    }
  }
}

/** Three rolling deployments: `old,new`, then `new,old`, then `new` (docs/deployment.md). */
function createDeployments(random: Random, instances: number): Step[] {
  return ['old,new', 'new,old'].flatMap((secrets, round) =>
    Array.from(
      { length: instances },
      (_, instance): Step => ({
        atMs: 6_000 + (round * instances + instance) * 7_000 + random.between(0, 2_000),
        ...{ kind: 'stop', instance, restartAfterMs: 100, secrets },
      }),
    ),
  );
}
