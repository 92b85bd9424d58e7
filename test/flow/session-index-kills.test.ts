import { type ChildProcess, fork } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { loadConfig } from '../../src/config/load.ts';
import { createDeps, type Deps } from '../../src/deps.ts';
import { createLogger } from '../../src/logger.ts';
import { buildApp, root } from '../support/build.ts';
import { killChildren, validEnv, watch } from '../support/processes.ts';
import { startCluster, startSingle, type Topology, waitFor } from '../support/redis-topologies.ts';

/** `USERS=1000 KILLS=200 node test/run.mjs session-index-kills` is the long version: about five minutes. */
const userCount = Number(process.env.USERS ?? 40);
const killCount = Number(process.env.KILLS ?? 8);
const workerCount = 3;
const batchSize = 60;
const concurrentOrders = 10;

type Order =
  | { readonly put: { readonly id: string; readonly sub: string; readonly sid: string } }
  | { readonly end: string }
  | { readonly endUser: string; readonly exceptId?: string };

let buildDir: string;
let topology: Topology;
const opened: Deps[] = [];
beforeAll(() => {
  buildDir = buildApp();
}, 60_000);
afterAll(() => rmSync(buildDir, { recursive: true, force: true }));
afterEach(async () => {
  killChildren();
  for (const each of opened.splice(0)) await each.close();
  await topology.close();
});

async function startWorker(env: Record<string, string>): Promise<ChildProcess> {
  const worker = fork(join(root, 'test/support/session-worker.mjs'), [join(buildDir, 'dist')], {
    execArgv: [],
    env: { PATH: process.env.PATH, ...env },
    stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
  });
  watch(worker);
  await once(worker, 'message');
  return worker;
}

/** The stores of this process, or of one whose clock is ahead. */
async function openStores(env: Record<string, string>, aheadMs = 0): Promise<Deps> {
  const now = () => Date.now() + aheadMs;
  const deps = createDeps(loadConfig(env), { log: createLogger('silent'), now });
  opened.push(deps);
  await waitFor(() =>
    deps.sessionIndex.count().then(
      () => true,
      () => false,
    ),
  );
  return deps;
}

/**
 * Has a worker carry out orders, a few at the same time. If it `isToBeKilled`, it is killed after a random number of them,
 * at least a quarter, at a random moment of the next ones: however fast the machine is, some are in progress.
 * @returns the orders that it has not confirmed
 */
async function runBatch(
  worker: ChildProcess,
  orders: readonly Order[],
  isToBeKilled: boolean,
): Promise<readonly Order[]> {
  const unconfirmed = new Map(orders.entries());
  const waiting = [...orders.entries()];
  const sentAt = new Map<number, number>();
  const errors: string[] = [];
  const ordersBeforeKill = Math.ceil(orders.length * (0.25 + 0.75 * Math.random()));
  const kill = () => worker.kill('SIGKILL');
  const sendNext = () => {
    const [number, order] = waiting.shift() ?? [];
    if (number === undefined || !worker.connected) return;
    sentAt.set(number, performance.now());
    worker.send({ number, ...order }, () => undefined); // it may have been killed
  };
  worker.on('message', ({ number, error }: { number: number; error?: string }) => {
    if (error !== undefined) errors.push(error);
    unconfirmed.delete(number);
    const tookMs = performance.now() - sentAt.get(number)!;
    if (isToBeKilled && orders.length - unconfirmed.size === ordersBeforeKill)
      setTimeout(kill, Math.random() * tookMs);
    sendNext();
  });
  for (let count = 0; count < concurrentOrders; count += 1) sendNext();
  if (isToBeKilled && ordersBeforeKill === 0) kill();
  await waitFor(() => (isToBeKilled ? worker.signalCode !== null : unconfirmed.size === 0));
  worker.removeAllListeners('message');
  expect(errors).toEqual([]);
  return [...unconfirmed.values()];
}

/**
 * Has workers carry out all orders, and kills `kills` workers in the middle of a batch. What a killed worker has not
 * confirmed is ordered again only if `isRepeated`.
 */
async function carryOut(
  orders: readonly Order[],
  { kills, isRepeated, refill }: { kills: number; isRepeated: boolean; refill: () => readonly Order[] },
  env: Record<string, string>,
): Promise<void> {
  const waiting = [...orders];
  let killsLeft = kills;

  async function runWorker(): Promise<void> {
    let worker = await startWorker(env);
    while (waiting.length > 0 || killsLeft > 0) {
      const batch = waiting.length > 0 ? waiting.splice(0, batchSize) : refill();
      const isToBeKilled = killsLeft > 0;
      if (isToBeKilled) killsLeft -= 1;
      const unconfirmed = await runBatch(worker, batch, isToBeKilled);
      if (isRepeated) waiting.push(...unconfirmed);
      if (isToBeKilled) worker = await startWorker(env);
    }
    worker.disconnect();
  }
  await Promise.all(Array.from({ length: workerCount }, runWorker));
}

test.each([
  ['Redis', () => startSingle()],
  ['a cluster of three masters', () => startCluster()],
] as const)(
  'no session is missing from the index, and no listed entry is without its session, when processes are killed (%s)',
  async (_name, start) => {
    topology = await start();
    const env = { ...validEnv, REDIS_URL: topology.url, LOG_LEVEL: 'error' };
    const idsOf = new Map<string, string[]>();
    const subs = Array.from({ length: userCount }, (_, number) => `user-${number}`);
    const putFor = (sub: string): Order => {
      const id = randomUUID();
      idsOf.set(sub, [...(idsOf.get(sub) ?? []), id]);
      return { put: { id, sub, sid: `sid-${id}` } };
    };
    const puts = [...subs, ...subs, ...subs].map(putFor);
    let refilled = 0;
    const nextSub = () => subs[refilled++ % subs.length]!;
    const morePuts = () => Array.from({ length: batchSize }, () => putFor(nextSub()));
    const deps = await openStores(env);
    const listed = async (sub: string) =>
      (await deps.sessionIndex.find({ sub }, 1_000)).map(({ id }) => id).sort();
    const withRecord = async (ids: readonly string[]) => {
      const records = await Promise.all(ids.map((id) => deps.tokenStore.get(id)));
      return ids.filter((_, index) => records[index]).sort();
    };
    const expectIndexed = async (kept: ReadonlyMap<string, readonly string[]>) => {
      for (const [sub, ids] of kept) {
        expect([sub, await withRecord(idsOf.get(sub)!)]).toEqual([sub, ids]);
        expect([sub, await withRecord(await listed(sub))]).toEqual([sub, ids]);
      }
    };

    await carryOut(puts, { kills: Math.ceil(killCount / 2), isRepeated: false, refill: morePuts }, env);
    const signedIn = new Map<string, string[]>();
    for (const sub of subs) signedIn.set(sub, await withRecord(idsOf.get(sub)!));
    expect([...signedIn.values()].flat().length).toBeGreaterThanOrEqual(puts.length / 4); // as killed workers confirm
    await expectIndexed(signedIn);

    // Of every four users, one keeps all, one loses one, one loses all others, one loses all.
    const kept = new Map<string, readonly string[]>();
    const ends: Order[] = [];
    for (const [number, [sub, ids]] of [...signedIn].entries()) {
      const [first, ...rest] = ids;
      if (number % 4 === 0 || first === undefined) kept.set(sub, ids);
      else if (number % 4 === 1) kept.set(sub, rest);
      else kept.set(sub, number % 4 === 2 ? [first] : []);
      if (number % 4 === 1 && first !== undefined) ends.push({ end: first });
      if (number % 4 === 2 && first !== undefined) ends.push({ endUser: sub, exceptId: first });
      if (number % 4 === 3) ends.push({ endUser: sub });
    }
    const endAgain = () => ends.slice(0, batchSize);
    await carryOut(ends, { kills: Math.floor(killCount / 2), isRepeated: true, refill: endAgain }, env);
    await expectIndexed(kept);

    // What crashes have left is due for a clock that is ahead. Opened only now, because it sweeps every minute.
    const later = await openStores(env, loadConfig(env).session.idleSeconds * 1000);
    await later.sessionIndex.sweep();
    for (const [sub, ids] of kept) expect([sub, await listed(sub)]).toEqual([sub, ids]);
    const all = new Set<string>();
    for await (const { id } of deps.sessionIndex.all()) all.add(id);
    expect([...all].sort()).toEqual([...kept.values()].flat().sort());
  },
  1_200_000,
);
