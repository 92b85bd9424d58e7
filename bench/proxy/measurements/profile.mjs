import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { latchkey } from '../../chaos/apps/latchkey.mjs';
import { tempFolder } from '../../chaos/harness/processes.mjs';
import { waitFor } from '../../chaos/harness/wait-for.mjs';
import { checkContestant, startLatchkey } from '../contestants.mjs';
import { openEnvironment } from '../environment.mjs';
import { runLoad } from '../load.mjs';
import { format, printTable } from '../tables.mjs';

const profiler = new URL('../profiler.mjs', import.meta.url);
const maxWriteMs = 30_000;
/** Rows with a smaller share are added up. */
const minShare = 0.01;

/** In which code Latchkey spends its CPU time, by module of its own and by package. */
export async function measureProfile(context) {
  const environment = await openEnvironment(context);
  try {
    const file = join(tempFolder, 'profile.json');
    const hook = `${profiler.href}?${new URLSearchParams({ file })}`;
    const env = { NODE_OPTIONS: `--import ${hook}` };
    const contestant = await startLatchkey(environment, { name: 'profile', users: context.users, env });
    environment.pin(contestant.pids);
    await checkContestant(contestant);
    const load = (seconds) => runLoad(context.worker, contestant, { ...context, seconds });
    await load(context.warmUpSeconds);
    for (const pid of contestant.pids) process.kill(pid, 'SIGUSR2');
    const { failures } = await load(context.seconds);
    for (const pid of contestant.pids) process.kill(pid, 'SIGUSR2');
    if (!(await waitFor(() => existsSync(file) && isComplete(file), maxWriteMs)))
      throw new Error('no profile was written');
    const shares = sumByPart(JSON.parse(readFileSync(file, 'utf8')));
    const rows = [...shares].sort(([, one], [, other]) => other - one);
    const large = rows.filter(([, share]) => share >= minShare);
    const rest = rows.filter(([, share]) => share < minShare).reduce((sum, [, share]) => sum + share, 0);
    printTable('Where Latchkey spends its CPU time', [
      ['code', 'share %'],
      ...[...large, ['all others', rest]].map(([part, share]) => [part, format(share * 100, 1)]),
    ]);
    return { failures, shares: Object.fromEntries(rows) };
  } finally {
    await environment.close();
  }
}

function isComplete(file) {
  try {
    return Boolean(JSON.parse(readFileSync(file, 'utf8')));
  } catch {
    return false;
  }
}

/** The share of each part of the code in the time that the process was not idle; each function counts without those it calls. */
function sumByPart({ nodes, samples, timeDeltas }) {
  const partOfNode = new Map(nodes.map(({ id, callFrame }) => [id, partOf(callFrame)]));
  const shares = new Map();
  let total = 0;
  for (const [index, node] of samples.entries()) {
    const part = partOfNode.get(node);
    if (part === undefined) continue;
    shares.set(part, (shares.get(part) ?? 0) + timeDeltas[index]);
    total += timeDeltas[index];
  }
  return new Map([...shares].map(([part, micros]) => [part, micros / total]));
}

const dist = () => `${pathToFileURL(latchkey.distFolder()).href}/`;

function partOf({ functionName, url }) {
  if (functionName === '(idle)' || functionName === '(root)') return undefined;
  if (url.startsWith('node:inspector')) return undefined; // the profiler itself
  if (functionName === '(garbage collector)') return 'garbage collection';
  if (url.startsWith(dist())) return `latchkey ${url.slice(dist().length).split('/')[0]}`;
  const [, name] = /.*\/node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(url) ?? [];
  if (name) return name;
  const [, builtIn] = /^node:(?:internal\/)?(\w+)/.exec(url) ?? [];
  return builtIn ? `node:${builtIn}` : 'native code of Node.js';
}
