import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { tempFolder } from '../../chaos/harness/processes.mjs';
import { checkContestant, startLatchkey } from '../contestants.mjs';
import { openEnvironment } from '../environment.mjs';
import { measureRounds, summarize } from '../measure.mjs';
import { costCells, costColumns, format, printTable } from '../tables.mjs';

/** The cost of a request with different lengths of the route table; the row of the request is the last. */
export async function measureRoutes(context, counts) {
  const environment = await openEnvironment(context);
  try {
    const variants = [];
    for (const count of counts) variants.push(await startWithRoutes(environment, context, count));
    const results = (await measureRounds(variants, context)).map(summarize);
    printTable('Cost by number of rows in the route table', [
      ['rows', ...costColumns],
      ...results.map((result, index) => [format(counts[index]), ...costCells(result)]),
    ]);
    return results;
  } finally {
    await environment.close();
  }
}

async function startWithRoutes(environment, { users }, count) {
  const others = Array.from({ length: count - 1 }, (_, index) => ({
    path: index % 2 === 0 ? `/service-${index}/items` : `/service-${index}/items/:id`,
    target: index % 2 === 0 ? `/service-${index}/items` : `/service-${index}/items/:id`,
    methods: { GET: {}, POST: {} },
  }));
  const routes = [...others, { path: '/profile', target: '/profile', methods: { GET: {} } }];
  const routesFile = join(tempFolder, `routes-${count}.json`);
  writeFileSync(routesFile, JSON.stringify({ routes }));
  const env = { API_ROUTES_FILE: routesFile };
  const contestant = await startLatchkey(environment, { name: `routes-${count}`, users, env });
  environment.pin(contestant.pids);
  await checkContestant(contestant);
  return contestant;
}
