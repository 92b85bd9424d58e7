import { type ChildProcess, fork } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { loadConfig } from '../../src/config/load.ts';
import { createDeps, type Deps } from '../../src/deps.ts';
import { createLogger } from '../../src/logger.ts';
import { buildApp, root } from '../support/build.ts';
import { killChildren, validEnv, watch } from '../support/processes.ts';
import { startCluster, startSingle, type Topology, waitFor } from '../support/redis-topologies.ts';

/** `USERS=1000 KILLS=200 node test/run.mjs session-index-kills` is the long version. */
const userCount = Number(process.env.USERS ?? 40);
const killCount = Number(process.env.KILLS ?? 8);
const workerCount = 3;
const batchSize = 60;

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

/** The stores of this process, and of one for whose clock the idle time of every session has passed. */
async function openStores(env: Record<string, string>) {
  const config = loadConfig(env);
  const log = createLogger('silent');
  const deps = createDeps(config, { log });
  const later = createDeps(config, { log, now: () => Date.now() + config.session.idleSeconds * 1000 });
  opened.push(deps, later);
  for (const { sessionIndex } of [deps, later])
    await waitFor(() =>
      sessionIndex.count().then(
        () => true,
        () => false,
      ),
    );
  return { deps, later };
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
      const next = waiting.splice(0, batchSize);
      const batch = new Map((next.length > 0 ? next : refill()).map((order, number) => [number, order]));
      const errors: string[] = [];
      worker.on('message', ({ number, error }: { number: number; error?: string }) => {
        if (error !== undefined) errors.push(error);
        batch.delete(number);
      });
      for (const [number, order] of batch) worker.send({ number, ...order });
      if (killsLeft > 0) {
        killsLeft -= 1;
        await delay(Math.random() * 60);
        worker.kill('SIGKILL');
        await once(worker, 'exit');
        if (isRepeated) waiting.push(...batch.values());
        worker = await startWorker(env);
      } else await waitFor(() => batch.size === 0);
      worker.removeAllListeners('message');
      expect(errors).toEqual([]);
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
    const morePuts = () => subs.slice(0, batchSize).map(putFor);
    const { deps, later } = await openStores(env);
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

    await later.sessionIndex.sweep(); // what crashes have left is due now
    for (const [sub, ids] of kept) expect([sub, await listed(sub)]).toEqual([sub, ids]);
    const all = new Set<string>();
    for await (const { id } of deps.sessionIndex.all()) all.add(id);
    expect([...all].sort()).toEqual([...kept.values()].flat().sort());
  },
  1_200_000,
);
