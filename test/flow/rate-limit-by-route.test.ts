import type { AddressInfo } from 'node:net';
import express, { type ErrorRequestHandler } from 'express';
import { MemoryStore } from 'express-rate-limit';
import { createLogger } from '../../src/logger.ts';
import { createRateLimits } from '../../src/middleware/rate-limit.ts';
import { writeRoutesFile } from '../support/routes-file.ts';
import { createWorld } from '../support/world.ts';

const told: ErrorRequestHandler = (error, _req, res, _next) => {
  res.status(error.status).json({ code: error.code, retryAfterSeconds: error.retryAfterSeconds });
};

test('limits of different routes count apart, also for one session on one request', async () => {
  const limit = createRateLimits({
    rateLimitStore: () => new MemoryStore(),
    getSessionId: (req) => req.get('x-session'),
    log: createLogger('silent'),
  });
  const app = express();
  app.use(
    '/both',
    limit('every', { limit: 3, windowSeconds: 10 }),
    limit('few', { limit: 1, windowSeconds: 3600 }),
  );
  app.use('/one', limit('/one/:id', { limit: 1, windowSeconds: 60 }));
  app.use((_req, res) => {
    res.json({});
  });
  app.use(told);
  const server = app.listen(0);
  const ask = async (path: string, session: string) => {
    const { port } = server.address() as AddressInfo;
    const answer = await fetch(`http://127.0.0.1:${port}${path}`, { headers: { 'x-session': session } });
    return { status: answer.status, headers: answer.headers, body: await answer.json() };
  };

  const first = await ask('/both', 'a');
  expect(first.status).toBe(200);
  expect(first.headers.get('ratelimit')).toBe('"every"; r=2; t=10, "few"; r=0; t=3600');
  expect(first.headers.get('ratelimit-policy')).toMatch(
    /^"every"; q=3; w=10; pk=:\w+:, "few"; q=1; w=3600; pk=:\w+:$/,
  );
  expect(await ask('/both', 'a')).toMatchObject({
    status: 429,
    body: { code: 'too_many_requests', retryAfterSeconds: 3600 },
  });
  expect((await ask('/one', 'a')).headers.get('ratelimit')).toBe('"/one/:id"; r=0; t=60');
  expect((await ask('/one', 'a')).status).toBe(429);
  expect((await ask('/one', 'b')).status).toBe(200);
  await new Promise((done) => server.close(done));
});

test('a row of the API table has its own limit, told before anything is sent on', async () => {
  const limited = { path: '/data', target: '/api/user/data', methods: { GET: {} } };
  const world = await createWorld({
    env: { API_ROUTES_FILE: writeRoutesFile([{ ...limited, rateLimit: { limit: 2, windowSeconds: 60 } }]) },
  });
  const [alice, bob] = [world.browser(), world.browser()];
  await world.signIn(alice);
  await world.signIn(bob, 'bob');
  const statuses = [];
  for (let call = 0; call < 3; call += 1) statuses.push((await alice.fetch('/api/data')).status);
  expect(statuses).toEqual([200, 200, 429]);
  expect(world.apiFaults.count(/data/)).toBe(2);
  expect((await bob.fetch('/api/data')).status).toBe(200);
  const refused = await alice.fetch('/api/data');
  expect(refused.headers).toMatchObject({
    'retry-after': expect.stringMatching(/^\d+$/),
    ratelimit: expect.any(String),
  });
  expect(refused.json()).toMatchObject({ error: 'too_many_requests' });
  await world.close();
});
