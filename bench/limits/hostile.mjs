// The attackers of the limits bench, in their own process: node hostile.mjs '<target as JSON>'.
// Stops after `seconds`, and prints for each attack how many attempts got which status, as one line of JSON.
import { randomBytes } from 'node:crypto';
import { connect } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';

const { port, host, origin, seconds, strangers, cookie, endedCookies } = JSON.parse(process.argv[2]);
const endsAt = Date.now() + seconds * 1000;
const isOver = () => Date.now() >= endsAt;
const counts = {};
const sockets = new Set();

function count(attack, outcome) {
  counts[attack] ??= {};
  counts[attack][outcome] = (counts[attack][outcome] ?? 0) + 1;
}

/**
 * Opens a connection, writes `head` (and whatever `more` writes), and resolves with the status of the first response,
 * or with the reason why there is none. The connection is closed after `holdMs`, or at the end of the bench.
 */
function attempt(attack, head, { more = () => {}, holdMs = 0, reads = true } = {}) {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    sockets.add(socket);
    let text = '';
    const finish = (outcome) => {
      count(attack, outcome);
      resolve(outcome);
      setTimeout(() => socket.destroy(), holdMs).unref();
    };
    if (reads)
      socket.on('data', (part) => {
        if (text.length < 4_000) text += part.toString('latin1');
        const [, status] = /^HTTP\/1\.1 (\d+)/.exec(text) ?? [];
        if (status && text.includes('\r\n\r\n') && holdMs === 0) finish(status);
      });
    socket.on('error', () => {});
    socket.on('close', () => {
      sockets.delete(socket);
      finish(/^HTTP\/1\.1 (\d+)/.exec(text)?.[1] ?? 'closed');
    });
    socket.write(head);
    more(socket);
    if (holdMs > 0) setTimeout(() => finish(/^HTTP\/1\.1 (\d+)/.exec(text)?.[1] ?? 'held'), holdMs).unref();
  });
}

const request = (method, path, headers = {}, body = '') =>
  [
    `${method} ${path} HTTP/1.1`,
    `host: ${host}`,
    ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
    '',
    body,
  ].join('\r\n');
const asScript = { 'sec-fetch-site': 'same-origin', 'sec-fetch-mode': 'cors', 'sec-fetch-dest': 'empty' };
const asForm = {
  origin,
  'sec-fetch-site': 'same-origin',
  'sec-fetch-mode': 'navigate',
  'sec-fetch-dest': 'document',
  accept: 'text/html',
};

/** Repeats an attack with this concurrency and pause until the end. */
function repeat(concurrency, pauseMs, run) {
  for (let index = 0; index < concurrency; index += 1)
    (async () => {
      await delay(Math.random() * 1_000);
      for (let round = 0; !isOver(); round += 1) {
        await run(index, round);
        await delay(pauseMs);
      }
    })();
}

/** Writes one byte each second. */
function drip(socket) {
  const timer = setInterval(() => (socket.destroyed ? clearInterval(timer) : socket.write('a')), 1_000);
}

const account = { cookie, 'x-forwarded-for': '203.0.113.66' };
const form = `a=${'%22'.repeat(80_000)}`;
const nested = `${'['.repeat(1_500)}${'0,'.repeat(100_000)}0${']'.repeat(1_500)}`;

function attackWithAccount() {
  repeat(4, 50, (index, round) => {
    const isJson = (index + round) % 2 === 0;
    const body = isJson ? nested : form;
    const ended = endedCookies[(index * 7 + round) % endedCookies.length];
    const headers = {
      ...asForm,
      ...account,
      cookie: ended,
      'content-type': isJson ? 'application/json' : 'application/x-www-form-urlencoded',
      'content-length': body.length,
    };
    return attempt(
      'save a form of 240 KB with the cookie of an ended session',
      request('POST', '/api/form', headers, body),
    );
  });
  repeat(300, 1_000, () =>
    attempt('open 300 event streams', request('GET', '/api/events', { ...asScript, ...account }), {
      holdMs: 60_000,
    }),
  );
  repeat(100, 1_000, () => {
    const key = randomBytes(16).toString('base64');
    const headers = {
      ...account,
      origin,
      connection: 'Upgrade',
      upgrade: 'websocket',
      'sec-websocket-version': 13,
      'sec-websocket-key': key,
    };
    return attempt('send 100 unfinished WebSocket frames of 16 MB', request('GET', '/api/ws', headers), {
      holdMs: 30_000,
      more(socket) {
        const head = Buffer.from([0x82, 0xff, 0, 0, 0, 0, 1, 0, 0, 0, 1, 2, 3, 4]);
        socket.once('data', () => {
          socket.write(head);
          socket.write(Buffer.alloc(16 * 1024 ** 2 - 1_000));
        });
      },
    });
  });
  repeat(60, 1_000, () =>
    attempt('read nothing of 60 downloads', request('GET', '/api/large', { ...asScript, ...account }), {
      holdMs: 60_000,
      reads: false,
    }),
  );
  repeat(50, 1_000, () =>
    attempt(
      'upload 50 files at a byte a second',
      request('PUT', '/api/upload', { ...asScript, ...account, 'content-length': 100 * 1024 ** 2 }),
      { holdMs: 60_000, more: drip },
    ),
  );
  repeat(2, 100, () =>
    attempt(
      'force refreshes',
      request('POST', '/auth/refresh', {
        ...asScript,
        ...account,
        origin,
        accept: 'application/json',
        'content-length': 0,
      }),
    ),
  );
  repeat(10, 100, () =>
    attempt('call an endpoint that fails', request('GET', '/api/unavailable', { ...asScript, ...account })),
  );
  repeat(10, 100, () =>
    attempt('call an endpoint that never responds', request('GET', '/api/slow', { ...asScript, ...account })),
  );
}

const unfinished = 'x'.repeat(250_000);
const roles = [
  (headers) =>
    attempt(
      'send half a request head',
      `GET / HTTP/1.1\r\nhost: ${host}\r\nx-forwarded-for: ${headers['x-forwarded-for']}\r\nx: `,
      { holdMs: 60_000, more: drip },
    ),
  (headers) =>
    attempt(
      'send most of a body to /auth/console',
      request(
        'POST',
        '/auth/console',
        { ...headers, ...asForm, 'content-type': 'application/json', 'content-length': 262_144 },
        unfinished,
      ),
      { holdMs: 60_000, more: drip },
    ),
  (headers) =>
    attempt(
      'send most of a body to a public route',
      request(
        'POST',
        '/api/public',
        { ...headers, ...asScript, 'content-type': 'text/plain', 'content-length': 60_000 },
        'x'.repeat(50_000),
      ),
      { holdMs: 60_000, more: drip },
    ),
  (headers) =>
    attempt(
      'start sign-ins',
      request('GET', '/auth/login', { ...headers, ...asForm, 'sec-fetch-site': 'none' }),
    ),
  (headers) =>
    attempt(
      'send invented callbacks',
      request('GET', '/auth/callback?code=a&state=b', { ...headers, ...asForm }),
    ),
  (headers) =>
    attempt('send cookies of 17 KB', request('GET', '/', { ...headers, cookie: `a=${'b'.repeat(17_000)}` })),
  (headers) =>
    attempt(
      'send forms with invented cookies',
      request(
        'POST',
        '/api/form',
        {
          ...headers,
          ...asForm,
          cookie: cookie.replace(/.$/, '!'),
          'content-type': 'application/x-www-form-urlencoded',
          'content-length': form.length,
        },
        form,
      ),
    ),
  (headers) =>
    attempt(
      'read nothing of a public download',
      request('GET', '/api/public-large', { ...headers, ...asScript }),
      { holdMs: 60_000, reads: false },
    ),
];

function attackAsStrangers() {
  repeat(strangers, 500, (index, round) => {
    const address = `198.51.${100 + (index >> 8)}.${index & 255}`;
    return roles[(index + round) % roles.length]({ 'x-forwarded-for': address });
  });
}

attackWithAccount();
attackAsStrangers();
await delay(seconds * 1000);
for (const socket of sockets) socket.destroy();
console.log(JSON.stringify(counts));
process.exit(0);
