import { once } from 'node:events';
import http from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import { type ApiWorld, createApiWorld } from '../hostile/support/api-world.ts';
import { waitUntil } from '../hostile/support/wire.ts';

/** An answer that is read as it comes. */
interface Reading {
  readonly status: number;
  text(): string;
  /** How it ended, once it has. */
  readonly ended: Promise<'whole' | 'cut'>;
  leave(): void;
}

describe('server-sent events', () => {
  let api: ApiWorld;
  /** The API's side of the newest stream. */
  let stream: http.ServerResponse;
  let headers: Record<string, string>;
  beforeAll(async () => {
    api = await createApiWorld([
      {
        path: '/events',
        target: '/events',
        methods: { GET: {} },
        stream: true,
        timeoutSeconds: 1,
        idleSeconds: 3,
      },
      { path: '/file', target: '/file', methods: { GET: {} }, stream: true },
      { path: '/plain', target: '/plain', methods: { GET: {} } },
    ]);
  });
  afterAll(() => api.close());
  beforeEach(() => {
    headers = { 'content-type': 'text/event-stream; charset=utf-8' };
    api.recorder.respondWith((_req, res) => {
      stream = res;
      res.writeHead(200, headers);
      res.flushHeaders();
    });
  });

  function read(path: string, cookie = api.cookie, origin = api.world.origin): Promise<Reading> {
    return new Promise((resolve, reject) => {
      const request = http.get(`${origin}/api${path}`, { headers: { cookie }, agent: false }, (response) => {
        let text = '';
        response.on('data', (chunk) => {
          text += chunk;
        });
        const ended = new Promise<'whole' | 'cut'>((done) => {
          response.on('error', () => undefined);
          response.on('close', () => done(response.complete ? 'whole' : 'cut'));
        });
        resolve({ status: response.statusCode!, text: () => text, ended, leave: () => request.destroy() });
      });
      request.on('error', reject);
    });
  }

  /** A person of their own, who signs out. */
  async function someone() {
    const browser = api.world.browser();
    await api.world.signIn(browser, 'bob');
    return { browser, cookie: await browser.jar.getCookieString(api.world.origin) };
  }

  test('arrive one by one, the headers before the first, however long nothing happens', async () => {
    const reading = await read('/events'); // it has its headers, and no event yet
    for (const event of ['data: 1\n\n', 'data: 2\n\n']) {
      await delay(1_100); // longer than the API may take to begin
      const before = reading.text();
      stream.write(event);
      await waitUntil(() => reading.text() === before + event);
    }
    stream.end();
    expect(await reading.ended).toBe('whole');
    expect(reading.text()).toBe('data: 1\n\ndata: 2\n\n');
  });

  test('are cut when the API is silent for longer than the route allows', async () => {
    const reading = await read('/events');
    stream.write('data: 1\n\n');
    expect(await reading.ended).toBe('cut');
  });

  test('hang up on the API when the browser leaves', async () => {
    const reading = await read('/events');
    const hungUp = once(stream, 'close');
    reading.leave();
    await hungUp;
  });

  test.each(['/events', '/plain'])(
    'of %s end with a last event within a second of signing out at another instance, and the API is hung up on',
    async (path) => {
      const second = await api.world.startAnotherInstance();
      const { browser, cookie } = await someone();
      const reading = await read(path, cookie, second.origin);
      const hungUp = once(stream, 'close');
      const others = await read(path);
      const signedOut = Date.now();
      await browser.fetch('/auth/logout', { method: 'POST' });
      expect(await reading.ended).toBe('whole');
      expect(Date.now() - signedOut).toBeLessThan(1_000);
      expect(reading.text()).toBe('event: session_ended\ndata: {"error":"login_required"}\n\n');
      await hungUp;
      stream.write('data: still there\n\n'); // to the other person
      await waitUntil(() => others.text() === 'data: still there\n\n');
      others.leave();
      expect((await read(path, cookie, second.origin)).status).toBe(401);
    },
  );

  test.each([
    ['half an event', {}, '/events', 'data: {"a":'],
    ['compressed events', { 'content-encoding': 'gzip' }, '/events', '\x1f\x8b'],
    ['a file', { 'content-type': 'application/octet-stream' }, '/file', 'half of it\n\n'],
  ])('and %s are cut where they are', async (_what, special, path, begun) => {
    headers = { ...headers, ...special };
    const { browser, cookie } = await someone();
    const reading = await read(path, cookie);
    stream.write(begun, 'latin1');
    await waitUntil(() => reading.text() !== '');
    await browser.fetch('/auth/logout', { method: 'POST' });
    expect(await reading.ended).toBe('cut');
    expect(reading.text()).not.toContain('session_ended');
  });
});
