// Sends requests, in its own process. Reads one JSON object from its standard input, and prints the result as one line of JSON:
//   { targets: [{ url, cookies }], headers, connections, seconds, rate? }
//   { requests, seconds, p50, p99, failures: { reason: count } }
// Without `rate`, every connection sends its next request when it has the response: autocannon. With `rate` (per second, of all
// targets together) requests are due at equal intervals, whether or not there are responses, and the time of a response counts
// from when its request was due, as in wrk2. (autocannon would send all requests of a second at its beginning.)
import { text } from 'node:stream/consumers';
import autocannon from 'autocannon';
import { Pool } from 'undici';

const job = JSON.parse(await text(process.stdin));
const durations = [];
const failures = {};
const startedAt = performance.now();

function record(status, ms) {
  if (status === 200) durations.push(ms);
  else failures[status] = (failures[status] ?? 0) + 1;
}

await Promise.all(job.targets.map(job.rate ? sendAtRate : sendAtOnce));
const seconds = (performance.now() - startedAt) / 1000;
durations.sort((one, other) => one - other);
const quantile = (share) => durations[Math.floor(durations.length * share)] ?? 0;
const result = { requests: durations.length, seconds, p50: quantile(0.5), p99: quantile(0.99), failures };
console.log(JSON.stringify(result));
process.exit();

async function sendAtOnce({ url, cookies }) {
  const { headers, seconds: duration } = job;
  const connections = Math.ceil(job.connections / job.targets.length);
  let clients = 0;
  const run = autocannon({
    ...{ url, connections, duration, headers },
    excludeErrorStats: true,
    /** Each connection has users of its own. */
    setupClient(client) {
      const index = clients++;
      const own = cookies.filter((_, each) => each % connections === index % cookies.length);
      client.setRequests(own.map((cookie) => ({ headers: { cookie } })));
    },
  });
  run.on('response', (_client, status, _bytes, ms) => record(status, ms));
  run.on('reqError', (error) => record(error.code ?? error.message, 0));
  await run;
}

function sendAtRate({ url, cookies }) {
  const { origin, pathname: path } = new URL(url);
  const pool = new Pool(origin, { connections: job.connections });
  const rate = job.rate / job.targets.length;
  const beganAt = performance.now();
  let sent = 0;
  let done = 0;

  function send() {
    // A request that leaves late, because this process was busy or all connections are in use, has waited too.
    const dueAt = beganAt + (sent * 1000) / rate;
    const headers = { ...job.headers, cookie: cookies[sent % cookies.length] };
    let status;
    sent += 1;
    pool.dispatch(
      { method: 'GET', path, headers },
      {
        onRequestStart() {},
        onResponseStart(_controller, code) {
          status = code;
        },
        onResponseData() {},
        onResponseEnd() {
          record(status, performance.now() - dueAt);
          done += 1;
        },
        onResponseError(_controller, error) {
          record(error.code ?? error.message, 0);
          done += 1;
        },
      },
    );
  }

  return new Promise((resolve) => {
    const timer = setInterval(() => {
      const elapsed = (performance.now() - beganAt) / 1000;
      const due = Math.floor(Math.min(elapsed, job.seconds) * rate);
      while (sent < due) send();
      if (elapsed < job.seconds || done < sent) return;
      clearInterval(timer);
      resolve();
    }, 1);
  });
}
