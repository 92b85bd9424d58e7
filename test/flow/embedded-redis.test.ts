import { once } from 'node:events';
import { Cluster, Redis } from 'ioredis';
import { createLatchkey } from '../../src/embedded/create-latchkey.ts';
import { closers, startHostApp } from '../support/host-app.ts';
import { validEnv } from '../support/processes.ts';
import { connectToCluster, startServer, waitFor } from '../support/redis-topologies.ts';

/** Settings with which the commands of Latchkey would fail, wait for ever or find other keys. */
const hostOptions = {
  ...{
    keyPrefix: 'host:',
    stringNumbers: true,
    readOnly: false,
    lazyConnect: true,
    maxRetriesPerRequest: null,
  },
  ...{ connectionName: 'host', retryStrategy: () => null, autoResendUnfulfilledCommands: false },
} as const;

async function startWith(redis: Redis | Cluster) {
  const { latchkey, signIn, origin, lines } = await startHostApp(
    (app, own) => {
      app.use(own.router);
    },
    { redis },
  );
  const cookie = await signIn();
  const signedIn = async () => (await fetch(`${origin}/api/profile`, { headers: { cookie } })).status;
  return { latchkey, signedIn, lines };
}

test('the Redis of the client of the host is used with connections of its own, in the same database, and only they are closed', async () => {
  const server = await startServer();
  closers.push(server.close);
  await server.admin.acl('SETUSER', 'app', 'on', '>password', '~*', '&*', '+@all');
  const host = new Redis({ port: server.port, db: 3, username: 'app', password: 'password', ...hostOptions });
  closers.push(() => host.disconnect());
  await host.subscribe('of the host'); // such a client can send no other commands
  const { latchkey, signedIn, lines } = await startWith(host);
  expect(await signedIn()).toBe(200);
  await server.admin.select(3);
  const keys = await server.admin.keys('*');
  expect(keys.filter((key) => !key.startsWith('latchkey:'))).toEqual([]);
  expect(keys.length).toBeGreaterThan(0);
  expect(lines.filter(({ level }) => level === 'warn' || level === 'error')).toEqual([]);
  await latchkey.close();
  const connections = async () =>
    String(await server.admin.client('LIST', 'TYPE', 'PUBSUB'))
      .trim()
      .split('\n');
  await waitFor(async () => (await connections()).length === 1);
  const [kept] = await connections();
  expect(kept).toContain('name=host');
  const received = once(host, 'message');
  await server.admin.publish('of the host', 'hello');
  expect(await received).toEqual(['of the host', 'hello']);
});

test('the client of the host may be a cluster, which the host may close first', async () => {
  const { redis, admins, close } = await connectToCluster();
  closers.push(close);
  const [{ host = '', port = 0 } = {}] = redis.nodes('master').map(({ options }) => options);
  const cluster = new Cluster([{ host, port }], {
    scaleReads: 'slave',
    redisOptions: { keyPrefix: 'host:' },
  });
  closers.push(() => cluster.disconnect());
  const { signedIn } = await startWith(cluster);
  cluster.disconnect();
  expect(await signedIn()).toBe(200);
  const keys = (await Promise.all(admins.map((admin) => admin.keys('*')))).flat();
  expect(keys.filter((key) => !key.startsWith('latchkey:'))).toEqual([]);
});

test('failures name the address and the option of the host, and no setting', async () => {
  const server = await startServer({ args: ['--requirepass', 'password'], admin: { password: 'password' } });
  closers.push(server.close);
  const host = new Redis({ port: server.port, password: 'wrong', lazyConnect: true });
  const lines: object[] = [];
  const write = (fields: object, message: string) => void lines.push({ ...fields, message });
  const settings = { ...validEnv, LOG_LEVEL: undefined, NODE_ENV: 'production' };
  const latchkey = createLatchkey({
    settings: Object(settings),
    redis: host,
    logger: { debug() {}, info() {}, warn: write, error: write },
  });
  closers.push(latchkey.close);
  const rejected = { reason: 'authentication', address: `localhost:${server.port}` };
  const message = 'Redis or a sentinel rejected the credentials: check the option redis; retrying';
  await waitFor(() => lines.length > 0);
  expect(lines).toContainEqual(expect.objectContaining({ ...rejected, message }));
});

test('a client that is not one of ioredis, and settings that it replaces, are refused', () => {
  const create =
    (redis: object, more = {}) =>
    () =>
      createLatchkey({ settings: { ...validEnv, ...more }, redis: Object(redis) });
  const host = new Redis({ lazyConnect: true });
  expect(create({ duplicate() {}, options: {} })).toThrow('redis must be a client or a cluster of ioredis');
  expect(create({ url: 'redis://redis' })).toThrow('redis must be a client or a cluster of ioredis');
  expect(create(host, { REDIS_URL: 'redis://redis' })).toThrow(
    'REDIS_URL has no effect with the option redis',
  );
  const cluster = new Cluster([{ host: '127.0.0.1', port: 1 }], { lazyConnect: true });
  expect(create(cluster, { REDIS_WAIT_REPLICAS: 1 })).toThrow(
    'REDIS_WAIT_REPLICAS is not supported with Redis Cluster',
  );
});

test('metrics() is the Prometheus text of the metrics, without those of the process, which the host may have itself', async () => {
  const { latchkey, origin } = await startHostApp((app, own) => {
    app.use(own.router);
    app.get('/metrics', async (_req, res) => {
      res.type('text/plain; version=0.0.4').send(await own.metrics());
    });
  });
  expect((await fetch(`${origin}/auth/session`)).status).toBe(200);
  const response = await fetch(`${origin}/metrics`);
  const text = await response.text();
  expect(response.headers.get('content-type')).toBe('text/plain; version=0.0.4; charset=utf-8');
  expect(text).toMatch(
    /^latchkey_http_requests_total\{route="\/auth\/session",method="GET",status="2xx"\} 1$/m,
  );
  expect(text).toMatch(/^latchkey_ready\{part="provider"\} 1$/m);
  expect(text.match(/^# TYPE (?!latchkey_).*$/gm)).toBeNull();
  expect(await latchkey.metrics()).toContain('latchkey_sessions_live');
});
