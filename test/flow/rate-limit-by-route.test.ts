import express, { type ErrorRequestHandler } from 'express';
import { MemoryStore } from 'express-rate-limit';
import request from 'supertest';
import { createLogger } from '../../src/logger.ts';
import { createMetrics } from '../../src/metrics/metrics.ts';
import { createRateLimits } from '../../src/middleware/rate-limit.ts';
import { writeRoutesFile } from '../support/routes-file.ts';
import { createWorld } from '../support/world.ts';

const sendError: ErrorRequestHandler = (error, _req, res, _next) => {
  res.status(error.status).json({ code: error.code, retryAfterSeconds: error.retryAfterSeconds });
};

test('limits are counted separately, even when they apply to the same session or request', async () => {
  const limit = createRateLimits({
    rateLimitStore: () => new MemoryStore(),
    getUserKey: async (req) => req.get('x-session'),
    log: createLogger('silent'),
    metrics: createMetrics(),
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
  app.use(sendError);
  const get = (path: string, session: string) => request(app).get(path).set('x-session', session);

  await get('/both', 'a')
    .expect(200)
    .expect('ratelimit', '"every"; r=2; t=10, "few"; r=0; t=3600')
    .expect('ratelimit-policy', /^"every"; q=3; w=10; pk=:\w+:, "few"; q=1; w=3600; pk=:\w+:$/);
  await get('/both', 'a').expect(429, { code: 'too_many_requests', retryAfterSeconds: 3600 });
  await get('/one', 'a').expect('ratelimit', '"/one/:id"; r=0; t=60');
  await get('/one', 'a').expect(429);
  await get('/one', 'b').expect(200);
});

test('a route of the route table has its own limit, which Latchkey checks before it calls the API', async () => {
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
  const rejected = await alice.fetch('/api/data');
  expect(rejected.headers).toMatchObject({
    'retry-after': expect.stringMatching(/^\d+$/),
    ratelimit: expect.any(String),
  });
  expect(rejected.json()).toMatchObject({ error: 'too_many_requests' });
  await world.close();
});
