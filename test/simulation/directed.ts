import type { ProviderCondition } from './provider.ts';
import type { Schedule, Step } from './schedule.ts';

/** The provider grants at once and responds late. */
const slow = (ms: number): ProviderCondition => ({
  ...{ minMs: ms, maxMs: ms + 1, processedAt: 0.01 },
  faultShare: 0,
  fault: 'error',
});
const quick = slow(50);

interface Directed {
  readonly describe: string;
  /** Variants of one course of events. */
  readonly schedules: readonly Schedule[];
}

function directed(
  describe: string,
  steps: readonly Step[] | readonly (readonly Step[])[],
  overrides: Partial<Schedule> = {},
): Directed {
  const variants = (Array.isArray(steps[0]) ? steps : [steps]) as readonly (readonly Step[])[];
  return {
    describe,
    schedules: variants.flatMap((each) =>
      [0, 500].map(
        (cacheMs): Schedule => ({
          cacheMs,
          ...{
            instances: 2,
            browsers: 1,
            skewsMs: [0, 0, 0],
            secrets: 'old',
            idleSeconds: 3_600,
            waitReplicas: 0,
          },
          ...{ condition: quick, isFaultless: false, trafficMs: 60_000, quietMs: 60_000, steps: each },
          provider: { graceMs: 0, revokes: 'grant', accessTokenSeconds: 15 },
          ...overrides,
        }),
      ),
    ),
  };
}

const variants = (count: number, create: (index: number) => readonly Step[]) =>
  Array.from({ length: count }, (_, index) => create(index));

const login = (atMs: number, instance = 0, user = 'user1'): Step => ({
  atMs,
  kind: 'login',
  browser: 0,
  instance,
  user,
});
const call = (atMs: number, instance: number): Step => ({ atMs, kind: 'call', browser: 0, instance });
const calls = (fromMs: number, toMs: number, everyMs: number, instance: number): Step[] =>
  Array.from({ length: Math.ceil((toMs - fromMs) / everyMs) }, (_, index) =>
    call(fromMs + index * everyMs, instance),
  );
/** A page in which something happens at 10 s, and calls that go to the second process. */
const page = (atMs: number, instance = 1): Step => ({
  ...{ atMs, kind: 'page', browser: 0, instances: [instance], calls: 200, everyMs: 10 },
});
const signOut = (atMs: number, instance = 0): Step => ({ atMs, kind: 'sign_out', browser: 0, instance });
const provider = (atMs: number, ms: number, forMs: number): Step => ({
  atMs,
  kind: 'provider',
  condition: slow(ms),
  ms: forMs,
});

/**
 * Schedules of two processes, by the fault that they once showed. The first login is at 3 s; its access token needs a
 * refresh at 15 s and expires at 18 s.
 */
export const directedSchedules: Readonly<Record<string, Directed>> = {
  'sign-in-during-refresh': directed(
    'the same user signs in again during a refresh that takes four seconds',
    [login(3_000), provider(15_000, 4_000, 3_000), call(15_500, 0), login(16_000, 1)],
  ),
  'expiry-during-refresh': directed(
    'a session ends by its time during a refresh, and the user has signed in again',
    [login(3_000), provider(15_000, 9_000, 3_000), call(16_000, 0), call(16_100, 1)],
    { idleSeconds: 60 },
  ),
  'group-lost': directed('Redis loses the consumer group of the outbox; then a user signs out', [
    login(3_000),
    // The provider is unavailable meanwhile, so that both processes know the group.
    { atMs: 4_500, kind: 'provider', condition: { ...quick, faultShare: 1, fault: 'refused' }, ms: 3_000 },
    { atMs: 5_000, kind: 'sign_out', browser: 0, instance: 0 },
    { atMs: 10_000, kind: 'flush' },
    login(12_000),
    { atMs: 20_000, kind: 'sign_out', browser: 0, instance: 0 },
  ]),
  'stop-with-pending-write': directed('SIGTERM while granted tokens wait for Redis', [
    login(3_000),
    provider(15_500, 1_000, 1_000),
    call(15_600, 0),
    { atMs: 16_000, kind: 'redis', reachability: 'refused', ms: 4_000 },
    { atMs: 17_500, kind: 'stop', instance: 0, restartAfterMs: 20_000 },
    ...calls(20_500, 30_000, 200, 1),
  ]),
  'stop-before-response': directed('SIGTERM before the provider responds, while Redis is unavailable', [
    login(3_000),
    provider(15_500, 1_000, 1_000),
    call(15_600, 0),
    { atMs: 16_000, kind: 'stop', instance: 0, restartAfterMs: 20_000 },
    { atMs: 16_200, kind: 'redis', reachability: 'refused', ms: 4_000 },
    ...calls(20_500, 30_000, 200, 1),
  ]),
  'lease-lapsed-broken': directed(
    'Redis is unavailable for longer than the lease, the provider for longer than that',
    [
      login(3_000),
      provider(15_500, 9_000, 1_000),
      call(15_600, 0),
      { atMs: 16_000, kind: 'redis', reachability: 'refused', ms: 5_700 },
      ...calls(21_000, 30_000, 100, 1),
    ],
  ),
  'lease-lapsed-silent': directed(
    'Redis stands still for longer than the lease while another process waits for it',
    [
      login(3_000),
      provider(15_500, 9_500, 1_000),
      call(15_600, 0),
      ...calls(18_100, 30_000, 90, 1),
      { atMs: 16_000, kind: 'redis', reachability: 'silent', ms: 6_300 },
    ],
  ),
  'lease-lost': directed(
    'a failover loses the lease only',
    [
      login(3_000),
      provider(15_500, 7_000, 1_000),
      call(15_600, 0),
      { atMs: 15_700, kind: 'redis', reachability: 'refused', ms: 700, lostWrites: 2 },
      ...calls(16_500, 30_000, 100, 1),
    ],
    { waitReplicas: 1 },
  ),
  'long-outage': directed(
    'tokens are granted in an outage of 75 s',
    [
      login(3_000),
      provider(15_500, 1_000, 1_000),
      call(15_600, 0),
      { atMs: 16_000, kind: 'redis', reachability: 'refused', ms: 75_000 },
      ...calls(90_000, 110_000, 150, 0),
      ...calls(90_050, 110_000, 150, 1),
    ],
    { trafficMs: 110_000 },
  ),
  'start-in-outage': directed('a process starts during an outage', [
    login(3_000),
    provider(15_500, 1_000, 1_000),
    call(15_600, 0),
    { atMs: 16_000, kind: 'redis', reachability: 'refused', ms: 12_170 },
    { atMs: 17_000, kind: 'kill', instance: 1, restartAfterMs: 7_000 },
    ...calls(26_000, 40_000, 10, 1),
  ]),
  'slow-reconnect': directed(
    'the way back to Redis takes as long as it can',
    variants(10, (index) => [
      login(3_000),
      provider(15_500, 1_000, 1_000),
      call(15_600, 0),
      { atMs: 16_000, kind: 'redis', reachability: 'refused', ms: 14_000 },
      { atMs: 29_000, kind: 'link', instance: 0, reachability: 'lost', ms: 1_200 + index * 100 },
      ...calls(29_000, 40_000, 20, 1),
    ]),
  ),
  'sign-out-unanswered': directed(
    'the reply to the removal of a session is lost during a refresh; the user signs out again',
    [
      login(3_000),
      provider(15_500, 1_500, 1_000),
      call(15_600, 0),
      { atMs: 15_700, kind: 'sign_out', browser: 0, instance: 1 },
      ...Array.from(
        { length: 12 },
        (_, index): Step => ({
          ...{ atMs: 17_090 + index * 10, kind: 'link', instance: 1, reachability: 'silent' },
          ms: 1_500,
        }),
      ),
      { atMs: 21_000, kind: 'sign_out', browser: 0, instance: 1 },
    ],
    { provider: { graceMs: 0, revokes: 'token', accessTokenSeconds: 15 } },
  ),
  'sign-out-during-refresh': directed(
    'a user signs out during a refresh that takes five seconds',
    [
      login(3_000),
      provider(15_500, 5_000, 1_000),
      call(15_600, 0),
      { atMs: 16_000, kind: 'sign_out', browser: 0, instance: 1 },
    ],
    { provider: { graceMs: 0, revokes: 'token', accessTokenSeconds: 15 } },
  ),
  'refused-write-unanswered': directed(
    'Redis goes away between a refused write and its reply',
    variants(40, (index) => [
      login(3_000),
      provider(15_500, 5_000, 1_000),
      call(15_600, 0),
      { atMs: 16_000, kind: 'sign_out', browser: 0, instance: 1 },
      { atMs: 20_600 + index / 4, kind: 'link', instance: 0, reachability: 'refused', ms: 3_000 },
    ]),
    { provider: { graceMs: 0, revokes: 'token', accessTokenSeconds: 15 } },
  ),
  'rotated-secret': directed('one process has the new secret first, another only the old one', [
    login(3_000),
    { atMs: 6_000, kind: 'stop', instance: 0, restartAfterMs: 100, secrets: 'new,old' },
    call(18_500, 0),
    ...calls(19_500, 24_000, 500, 1),
    { atMs: 25_000, kind: 'sign_out', browser: 0, instance: 1 },
    { atMs: 30_000, kind: 'stop', instance: 1, restartAfterMs: 100, secrets: 'new,old' },
    { atMs: 40_000, kind: 'sign_out', browser: 0, instance: 1 },
  ]),
  'slow-revocation': directed(
    'twenty sign-outs in one process at a provider that takes 0.9 s',
    Array.from({ length: 20 }, (_, browser): Step[] => [
      { atMs: 3_000, kind: 'login', browser, instance: browser, user: `user${browser}` },
      { atMs: 13_000, kind: 'sign_out', browser, instance: 0 },
    ]).flat(),
    { browsers: 20, isFaultless: true, condition: slow(900) },
  ),
  'page-during-sign-out': directed('a user signs out on one process while a page sends requests to another', [
    login(3_000),
    page(9_500),
    signOut(10_000),
  ]),
  'page-during-refresh': directed('one process refreshes while a page sends requests to another', [
    login(3_000),
    page(9_500),
    { atMs: 10_000, kind: 'refresh', browser: 0, instance: 0 },
  ]),
  'page-during-late-write': directed(
    'tokens can only be stored after an outage, while a page sends requests to another process',
    [
      login(3_000),
      provider(9_900, 1_000, 1_000),
      { atMs: 10_000, kind: 'refresh', browser: 0, instance: 0 },
      { atMs: 10_300, kind: 'link', instance: 0, reachability: 'refused', ms: 2_500 },
      page(12_200),
    ],
  ),
  'page-in-stall': directed('Redis stops responding while a page sends requests', [
    login(3_000),
    page(9_500),
    { atMs: 9_550, kind: 'redis', reachability: 'silent', ms: 700 },
  ]),
  'page-without-announcements': directed(
    'the connection for announcements hangs, and the user signs out on another process',
    variants(20, (index) => [
      login(3_000),
      page(9_500),
      { atMs: 9_600 + index * 25, kind: 'subscription', instance: 1, reachability: 'silent', ms: 1_500 },
      signOut(10_000),
    ]),
  ),
  'page-while-resubscribing': directed(
    'the announcement of a sign-out is lost with the connection for announcements, which is opened again at once',
    variants(20, (index) => [
      login(3_000),
      page(9_500),
      { atMs: 10_000, kind: 'subscription', instance: 1, reachability: 'lost', ms: 30 },
      signOut(9_996 + index),
    ]),
  ),
  'page-read-overtaken': directed(
    'the announcement of a sign-out overtakes the reply to a read that was executed before it',
    variants(40, (index) => [
      login(3_000),
      signOut(9_996.5 + index / 20),
      page(10_000),
      { atMs: 10_000.2 + (index % 8) / 5, kind: 'link', instance: 1, reachability: 'silent', ms: 60 },
    ]),
  ),
  'page-on-slow-network': directed(
    'a user signs out while replies and announcements overtake each other',
    variants(30, (index) => [
      login(3_000),
      page(9_500),
      { atMs: 9_400, kind: 'slow_network', share: 0.2, maxMs: 100, ms: 3_000 },
      signOut(10_000 + index * 15, index % 2),
    ]),
  ),
  'clock-ahead': directed(
    'a process whose clock is five seconds ahead, after a refresh whose outcome is unknown',
    [
      login(3_000),
      {
        atMs: 15_500,
        kind: 'provider',
        condition: { ...quick, faultShare: 1, fault: 'answer_lost' },
        ms: 500,
      },
      call(15_600, 0),
      ...calls(16_000, 25_000, 100, 1),
    ],
    { skewsMs: [-2_500, 2_500] },
  ),
};
