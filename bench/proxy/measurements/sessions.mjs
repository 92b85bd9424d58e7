import { fileURLToPath } from 'node:url';
import { latchkey } from '../../chaos/apps/latchkey.mjs';
import { startProgram } from '../../chaos/harness/processes.mjs';
import { startRedis } from '../../chaos/harness/redis.mjs';
import { accessTokenBytes, checkContestant, startLatchkey } from '../contestants.mjs';
import { openEnvironment, readRedisBytes } from '../environment.mjs';
import { measureRounds, summarize } from '../measure.mjs';
import { costCells, costColumns, format, printTable, redisCells, redisColumns } from '../tables.mjs';

const seedProgram = fileURLToPath(new URL('../seed-sessions.mjs', import.meta.url));
/** With fewer sessions, what else Redis stores would count. */
const minSessionsForSize = 1_000;

/** The cost of a request with different numbers of live sessions, and the memory that a session takes in Redis. */
export async function measureSessions(context, counts) {
  const environment = await openEnvironment(context);
  try {
    const variants = [];
    for (const count of counts) variants.push(await startWithSessions(environment, context, count));
    const results = (await measureRounds(variants, context)).map(summarize);
    printTable(`Cost by number of sessions, with requests of at most ${format(context.active)} of them`, [
      ['sessions', ...costColumns, ...redisColumns, 'Redis bytes/session'],
      ...results.map((result, index) => [
        format(counts[index]),
        ...costCells(result),
        ...redisCells(result),
        format(variants[index].bytesPerSession),
      ]),
    ]);
    return results.map((result, index) => ({ ...result, bytesPerSession: variants[index].bytesPerSession }));
  } finally {
    await environment.close();
  }
}

async function startWithSessions(environment, { active }, count) {
  const redis = await startRedis({ args: ['--appendonly', 'no'] });
  environment.closeAtEnd(redis.close);
  const contestant = await startLatchkey(environment, { name: `sessions-${count}`, redis });
  const before = await readRedisBytes(redis);
  const options = { count, cookies: Math.min(count, active), accessTokenBytes };
  const { child, ready } = await startProgram(
    'seed-sessions',
    seedProgram,
    [latchkey.distFolder(), JSON.stringify(options)],
    { env: contestant.deployment.instances[0].env },
  );
  await child.exited;
  contestant.cookies = ready.cookies;
  contestant.bytesPerSession =
    count < minSessionsForSize ? undefined : ((await readRedisBytes(redis)) - before) / count;
  environment.pin(contestant.pids);
  await checkContestant(contestant);
  return contestant;
}
