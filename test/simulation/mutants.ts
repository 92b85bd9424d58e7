import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** A change of the build that removes one of its safeguards. */
export interface Mutant {
  readonly name: string;
  readonly file: string;
  readonly from: string;
  readonly to: string;
  /** The profiles whose seeds find it, sooner or later, and the directed schedules that have to. */
  readonly profiles: readonly string[];
  readonly directed: readonly string[];
}

const project = fileURLToPath(new URL('../..', import.meta.url));
const tokenStore = 'stores/redis/token-store.js';
const lease = 'stores/redis/lease.js';
const outbox = 'stores/redis/revocation-outbox.js';
const cache = 'stores/cached-token-store.js';

export const mutants: readonly Mutant[] = [
  {
    name: 'no compare-and-set',
    file: 'stores/redis/token-scripts.js',
    from: "if nonce ~= ARGV[1] then return { redis.call('GET', KEYS[1]), redis.call('GET', KEYS[2]) } end",
    to: '',
    profiles: ['aimed', 'leaving'],
    directed: ['sign-out-during-refresh'],
  },
  {
    name: 'no lease',
    file: lease,
    from: "(await redis.set(key, owner, 'PX', leaseMs, 'NX')) === null",
    to: "(await redis.set(key, owner, 'PX', leaseMs)) === null",
    profiles: ['calm', 'storm'],
    directed: ['expiry-during-refresh', 'lease-lapsed-broken'],
  },
  {
    name: 'no tombstone',
    file: 'stores/redis/token-scripts.js',
    from: "redis.call('SET', KEYS[2], ARGV[2], 'NX', 'PX', ARGV[3])",
    to: '',
    profiles: ['calm', 'aimed'],
    directed: ['sign-out-during-refresh'],
  },
  {
    name: 'no memory of failures',
    file: tokenStore,
    from: 'await rememberFailure(id, error);',
    to: '',
    profiles: ['standard', 'aimed'],
    directed: ['clock-ahead'],
  },
  {
    name: 'no reconnect grace',
    file: 'stores/redis/connection.js',
    from: 'return elapsedMs() - reconnectedAt < graceMs;',
    to: 'return false;',
    profiles: ['long', 'aimed-long'],
    directed: ['start-in-outage', 'slow-reconnect'],
  },
  {
    name: 'tokens of refused writes are not revoked',
    file: 'tokens/token-manager.js',
    from: 'runInBackground(ending.revoke(discarded.tokens));',
    to: ';',
    profiles: ['calm', 'aimed'],
    directed: ['sign-out-during-refresh'],
  },
  {
    name: 'tokens of refused writes are always revoked',
    file: 'tokens/token-manager.js',
    from: 'if (isToBeRevoked(discarded, reason))',
    to: 'if (discarded)',
    profiles: ['calm-slow', 'calm'],
    directed: ['sign-in-during-refresh'],
  },
  {
    name: 'the lost consumer group is not created again',
    file: outbox,
    from: 'hasGroup = false;\n            throw',
    to: 'throw',
    profiles: ['data-loss'],
    directed: ['group-lost'],
  },
  {
    name: 'shutdown does not wait for pending writes',
    file: 'tokens/token-manager.js',
    from: 'await store.drain();',
    to: '',
    profiles: ['leaving'],
    directed: ['stop-with-pending-write'],
  },
  {
    name: 'a lapsed lease is not taken back',
    file: lease,
    from: 'redis.eval(keepAfterSending,',
    to: 'redis.eval(extendIfOwner,',
    profiles: ['long', 'aimed-long'],
    directed: ['lease-lapsed-broken', 'lease-lost'], // a silent connection is replaced before the lease lapses
  },
  {
    name: 'pending writes are given up after a minute',
    file: 'stores/redis/connection.js',
    from: 'if (isPastEnd())',
    to: 'if (isPastEnd() || Date.now() > startedAt + 60_000)',
    profiles: [],
    directed: ['long-outage'],
  },
  {
    name: 'the first connection never counts as a reconnect',
    file: 'stores/redis/connection.js',
    from: 'if (hasFailed)\n            startGrace();',
    to: 'if (hasFailed && redis.wasReady) startGrace(); redis.wasReady = true;',
    profiles: [],
    directed: ['start-in-outage'],
  },
  {
    name: 'a record that cannot be read counts as absent',
    file: 'stores/opened-records.js',
    from: 'throw new UnreadableRecordError();',
    to: 'return undefined;',
    profiles: [],
    directed: ['rotated-secret'],
  },
  {
    name: 'records from memory have no maximum age',
    file: cache,
    from: 'cached ? find(id) : undefined',
    to: 'cached ? entries.get(id)?.record : undefined',
    profiles: ['pages', 'standard'],
    directed: ['page-in-stall', 'page-without-announcements'],
  },
  {
    name: 'records from memory are used while announcements may not arrive',
    file: cache,
    from: '|| at - changes.confirmedAt() >= maxUnconfirmedMs',
    to: '',
    profiles: ['pages', 'standard'],
    directed: ['page-in-stall', 'page-without-announcements'],
  },
  {
    name: 'announcements drop no records from memory',
    file: 'stores/redis/session-end-events.js',
    from: "message.split(' ');\n        onChange(id);",
    to: "message.split(' ');",
    profiles: ['calm', 'pages'],
    directed: ['page-during-sign-out', 'page-during-refresh'],
  },
  {
    name: 'refreshes are not announced',
    file: tokenStore,
    from: 'sessionEndEvents.publishChange(id);',
    to: ';',
    profiles: ['calm', 'pages'],
    directed: ['page-during-refresh', 'page-during-late-write'],
  },
  {
    name: 'records from memory outlast the loss of announcements',
    file: 'stores/redis/session-end-events.js',
    from: 'onChange(undefined);',
    to: ';',
    profiles: ['pages', 'standard'],
    directed: ['page-while-resubscribing'],
  },
  {
    name: 'a record that was read during an announcement is kept in memory',
    file: cache,
    from: 'changeCount === countBefore && ',
    to: '',
    profiles: ['pages', 'calm'],
    directed: ['page-read-overtaken'],
  },
  {
    name: 'a record that was read while its session was being ended is kept in memory',
    file: cache,
    from: ' && !inProgress.has(id)',
    to: '',
    profiles: ['pages', 'calm'],
    directed: ['page-on-slow-network'],
  },
];

/** Runs `use` with a copy of the build in which this mutant is. @throws Error when its text is not in the build once */
export async function withMutant<T>(
  build: string,
  mutant: Mutant,
  use: (build: string) => Promise<T>,
): Promise<T> {
  const root = mkdtempSync(join(tmpdir(), 'latchkey-mutant-'));
  try {
    const copy = join(root, 'dist');
    cpSync(build, copy, { recursive: true });
    cpSync(join(project, 'package.json'), join(root, 'package.json'));
    symlinkSync(join(project, 'node_modules'), join(root, 'node_modules'));
    const path = join(copy, mutant.file);
    const text = readFileSync(path, 'utf8');
    if (text.split(mutant.from).length !== 2)
      throw new Error(`mutant "${mutant.name}": not found once: ${mutant.from}`);
    writeFileSync(
      path,
      text.replace(mutant.from, () => mutant.to),
    );
    return await use(copy);
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
}
