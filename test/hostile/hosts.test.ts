import { type ApiWorld, createApiWorld } from './support/api-world.ts';
import { formatHead, sendRaw, sendRequest } from './support/raw-http.ts';

const target = '/v1/x';
const routes = [
  { path: '/user', target, methods: { GET: {} } },
  { path: '/app', target, methods: { GET: {} }, token: 'app' },
  { path: '/either', target, methods: { GET: {} }, token: 'user-or-app' },
  { path: '/open', target, methods: { GET: {}, POST: {} }, token: 'none' },
];
const withoutSession = ['/api/app', '/api/either', '/api/open'];

describe('a request for another host (DNS rebinding)', () => {
  let api: ApiWorld;
  beforeAll(async () => {
    api = await createApiWorld(routes, { ALLOWED_HOSTS: 'latchkey, internal.example' });
  });
  afterAll(() => api.close());

  const get = (path: string, host: string, headers = {}) =>
    sendRequest(api.world.origin, 'GET', path, { host, 'sec-fetch-site': 'same-origin', ...headers });

  test.each([
    'evil.example',
    'evil.example:80',
    'localhost.evil.example',
    'evil.example/localhost',
    '127.0.0.1',
    '[::1]:3000',
  ])('gets 421 from every route that needs no session: %s', async (host) => {
    api.recorder.requests.length = 0;
    for (const path of withoutSession) {
      const { status, text } = await get(path, host, { 'x-forwarded-host': 'localhost' });
      expect([path, status, JSON.parse(text).error]).toEqual([path, 421, 'misdirected_request']);
    }
    expect(api.recorder.requests).toEqual([]);
    const lines = api.world.latchkey.logLines.map((line) => JSON.parse(line));
    const reason = `the request is for the host "${host}", expected localhost, latchkey, internal.example (see ALLOWED_HOSTS)`;
    expect(lines.filter((line) => line.reason === reason)).toHaveLength(withoutSession.length);
  });

  test('without Host gets 421 (HTTP/1.0)', async () => {
    const { text } = await sendRaw(api.world.origin, ['GET /api/open HTTP/1.0\r\n\r\n']);
    expect(text).toMatch(/^HTTP\/1\.1 421 /);
  });

  test('gets 421 before its body is read', async () => {
    const lines = ['Host: evil.example', 'Connection: close', 'Content-Length: 1000000'];
    const { statuses } = await sendRaw(api.world.origin, [formatHead('POST /api/open', lines)]);
    expect(statuses).toEqual([421]);
  });

  test.each(['localhost', 'LOCALHOST:1', 'localhost.', 'latchkey:3000', 'internal.example'])(
    'is accepted for the public host and ALLOWED_HOSTS, whatever the port: %s',
    async (host) => {
      for (const path of withoutSession) expect([path, (await get(path, host)).status]).toEqual([path, 200]);
    },
  );

  test('is accepted by the health check, and by routes that need the session of the public host', async () => {
    expect((await get('/healthz', 'evil.example')).status).toBe(200);
    expect((await get('/api/user', 'evil.example')).status).toBe(401);
    expect((await get('/api/user', 'evil.example', { cookie: api.cookie })).status).toBe(200);
  });
});
