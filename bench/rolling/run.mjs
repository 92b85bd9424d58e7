// node bench/rolling/run.mjs [--rounds 10] [--delay 5] [--users 40] [--build FOLDER] [--logs FOLDER]
// Two processes of the app behind a real nginx with upstream keep-alive get SIGTERM in turn, and are started again, while
// users send requests. Exits with 1 when a request fails. The nginx configuration is that of docs/deployment.md.
import { mkdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { latchkey } from '../chaos/apps/latchkey.mjs';
import { startDeployment } from '../chaos/harness/deployment.mjs';
import { startNginx } from '../chaos/harness/nginx.mjs';
import { stopProcess, writeLogsTo } from '../chaos/harness/processes.mjs';
import { max, quantile } from '../chaos/harness/stats.mjs';
import { delay } from '../chaos/harness/wait-for.mjs';

const failTimeoutSeconds = 2;
const maxPauseMs = 40;

const { values: options } = parseArgs({
  options: {
    rounds: { type: 'string', default: '10' },
    delay: { type: 'string', default: '5' },
    users: { type: 'string', default: '40' },
    build: { type: 'string' },
    logs: { type: 'string' },
  },
});
if (options.logs) {
  mkdirSync(options.logs, { recursive: true });
  writeLogsTo(resolve(options.logs));
}

latchkey.prepare({ build: options.build && resolve(options.build) });
const deployment = await startDeployment(latchkey, {
  label: 'rolling',
  processes: 2,
  env: { SHUTDOWN_DELAY_SECONDS: options.delay },
});
let failures = 0;
try {
  const nginx = await startNginx(
    deployment.instances.map(
      ({ port }) => `127.0.0.1:${port} max_fails=1 fail_timeout=${failTimeoutSeconds}s`,
    ),
    options.logs && { errorLog: join(resolve(options.logs), 'nginx.log') },
  );
  const users = await deployment.signIn(Number(options.users));
  for (let round = 1; round <= Number(options.rounds); round += 1)
    failures += await restartBoth(users, nginx, round);
  await stopProcess(nginx.child, 'SIGTERM');
} finally {
  await deployment.close();
}
console.log(failures === 0 ? 'no request failed' : `${failures} requests or processes failed`);
process.exit(failures === 0 ? 0 : 1);

/** One rolling restart under load; returns the number of failures. */
async function restartBoth(users, nginx, round) {
  const responses = [];
  let isOver = false;
  const load = users.map((user) => sendRequests(user, nginx, responses, () => isOver));
  await delay(500);
  const exitCodes = [];
  for (const instance of deployment.instances) {
    exitCodes.push(await instance.terminate());
    await instance.start();
    await delay(failTimeoutSeconds * 1_000 + 500); // nginx uses the instance again
  }
  isOver = true;
  await Promise.all(load);
  const failed = responses.filter(({ status }) => status !== 200);
  const ms = responses.map((each) => each.ms);
  const counts = new Map();
  for (const { what, status, error = '' } of failed) {
    const key = `${what}: ${status} ${error}`;
    counts.set(key, (counts.get(key) ?? 0) + 1);
  }
  console.log(
    `round ${round}: ${responses.length} requests, ${failed.length} failed, p50 ${quantile(ms, 0.5).toFixed(0)} ms, ` +
      `slowest ${max(ms).toFixed(0)} ms, exit codes ${exitCodes.join(' ')}`,
  );
  for (const [key, count] of counts) console.log(`  ${key} (${count} times)`);
  return failed.length + exitCodes.filter((code) => code !== 0).length;
}

async function sendRequests(user, nginx, responses, isOver) {
  const { publicOrigin } = deployment;
  const kinds = [
    ['GET', '/api/data', {}],
    ['POST', '/api/data', { body: '{"note":"x"}' }],
    ['POST large', '/api/data', { body: JSON.stringify({ note: 'x'.repeat(50_000) }) }],
    ['page', '/profile', { navigate: true }],
    ['asset', '/auth/assets/style.css', {}],
  ];
  for (let i = 0; !isOver(); i += 1) {
    const [what, path, { body, navigate }] = kinds[i % kinds.length];
    const post = body && {
      method: 'POST',
      body,
      headers: { 'content-type': 'application/json', origin: publicOrigin },
    };
    const { status, error, ms } = await user.send(nginx, path, { navigate, ...post });
    responses.push({ what, status: status === 201 ? 200 : status, error, ms });
    await delay(Math.random() * maxPauseMs);
  }
}
