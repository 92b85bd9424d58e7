import { once } from 'node:events';
import http from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import type { SessionEntry } from '../../src/tokens/session-list.ts';
import { type ApiWorld, createApiWorld } from '../hostile/support/api-world.ts';
import { formatHead, sendRaw, waitUntil } from '../hostile/support/raw-http.ts';

/** A response that is read as it arrives. */
interface StreamedResponse {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  text(): string;
  /** Settles when the connection closes. */
  readonly ended: Promise<'complete' | 'aborted'>;
  abort(): void;
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

  function read(path: string, cookie = api.cookie, origin = api.world.origin): Promise<StreamedResponse> {
    return new Promise((resolve, reject) => {
      const request = http.get(`${origin}/api${path}`, { headers: { cookie }, agent: false }, (response) => {
        let text = '';
        response.on('data', (chunk) => {
          text += chunk;
        });
        const ended = new Promise<'complete' | 'aborted'>((done) => {
          response.on('error', () => undefined);
          response.on('close', () => done(response.complete ? 'complete' : 'aborted'));
        });
        resolve({
          status: response.statusCode!,
          headers: response.headers,
          text: () => text,
          ended,
          abort: () => request.destroy(),
        });
      });
      request.on('error', reject);
    });
  }

  /** Another user, who can sign out without ending the session of `api.cookie`. */
  async function signInAsBob() {
    const browser = api.world.browser();
    await api.world.signIn(browser, 'bob');
    return { browser, cookie: await browser.jar.getCookieString(api.world.origin) };
  }

  test('304 with the length of the 200 keeps the connection of the client open', async () => {
    api.recorder.respondWith((req) => {
      req.socket.write('HTTP/1.1 304 Not Modified\r\nETag: "e"\r\nContent-Length: 500\r\n\r\n');
    });
    const headers = ['Host: localhost', `Cookie: ${api.cookie}`];
    const { statuses } = await sendRaw(api.world.origin, [
      formatHead('GET /api/file', headers),
      formatHead('GET /api/file', [...headers, 'Connection: close']),
    ]);
    expect(statuses).toEqual([304, 304]);
  });

  test('the headers and each event arrive immediately, even after long pauses', async () => {
    const response = await read('/events'); // the headers have arrived, but no event yet
    for (const event of ['data: 1\n\n', 'data: 2\n\n']) {
      await delay(1_100); // longer than timeoutSeconds, the limit for the response headers
      const before = response.text();
      stream.write(event);
      await waitUntil(() => response.text() === before + event);
    }
    stream.end();
    expect(await response.ended).toBe('complete');
    expect(response.text()).toBe('data: 1\n\ndata: 2\n\n');
  });

  test.each([
    ['an event stream', '/plain', 'text/event-stream', 'no'],
    ['a response of a route with "stream"', '/file', 'application/x-ndjson', 'no'],
    ['another response', '/plain', 'application/json', undefined],
  ])('X-Accel-Buffering tells nginx not to buffer %s', async (_what, path, type, expected) => {
    api.recorder.respondWith((_req, res) => void res.writeHead(200, { 'content-type': type }).end('x'));
    const response = await read(path);
    expect(response.headers['x-accel-buffering']).toBe(expected);
  });

  test("a stream is aborted when the API sends nothing for longer than the route's idleSeconds", async () => {
    const response = await read('/events');
    stream.write('data: 1\n\n');
    expect(await response.ended).toBe('aborted');
  });

  test('Latchkey closes the connection to the API when the browser disconnects', async () => {
    const response = await read('/events');
    const apiClosed = once(stream, 'close');
    response.abort();
    await apiClosed;
  });

  test('the last event says who ended the session, also when that happened on another instance', async () => {
    const other = await api.world.startAnotherInstance();
    const { cookie } = await signInAsBob();
    const response = await read('/events', cookie);
    const entries: SessionEntry[] = []; // plain OAuth 2.0: there is no `sub`
    for await (const each of other.tokens.allSessions()) entries.push(each);
    const newest = entries.toSorted((one, two) => two.signedInAt - one.signedInAt)[0]!;
    await other.tokens.endBy(newest.id, 'administrator');
    expect(await response.ended).toBe('complete');
    expect(response.text()).toBe(
      'event: session_ended\ndata: {"error":"login_required","reason":"ended_by_administrator"}\n\n',
    );
  });

  test.each(['/events', '/plain'])(
    'within a second of a sign-out on another instance, a stream from %s gets session_ended and its API connection is closed',
    async (path) => {
      const second = await api.world.startAnotherInstance();
      const { browser, cookie } = await signInAsBob();
      const response = await read(path, cookie, second.origin);
      const apiClosed = once(stream, 'close');
      const otherResponse = await read(path);
      const signedOutAt = Date.now();
      await browser.fetch('/auth/logout', { method: 'POST' });
      expect(await response.ended).toBe('complete');
      expect(Date.now() - signedOutAt).toBeLessThan(1_000);
      expect(response.text()).toBe('event: session_ended\ndata: {"error":"login_required"}\n\n');
      await apiClosed;
      stream.write('data: still open\n\n'); // to the other user
      await waitUntil(() => otherResponse.text() === 'data: still open\n\n');
      otherResponse.abort();
      expect((await read(path, cookie, second.origin)).status).toBe(401);
    },
  );

  test.each([
    ['an incomplete event', {}, '/events', 'data: {"a":'],
    ['compressed events', { 'content-encoding': 'gzip' }, '/events', '\x1f\x8b'],
    ['a file', { 'content-type': 'application/octet-stream' }, '/file', 'half of it\n\n'],
  ])(
    'at sign-out, a response with %s is aborted without a session_ended event',
    async (_what, extraHeaders, path, firstChunk) => {
      headers = { ...headers, ...extraHeaders };
      const { browser, cookie } = await signInAsBob();
      const response = await read(path, cookie);
      stream.write(firstChunk, 'latin1');
      await waitUntil(() => response.text() !== '');
      await browser.fetch('/auth/logout', { method: 'POST' });
      expect(await response.ended).toBe('aborted');
      expect(response.text()).not.toContain('session_ended');
    },
  );

  test.each(['/events', '/plain'])(
    'the 21st event stream of a session from %s gets 429 with the name of the setting; its API connection is closed',
    async (path) => {
      const { cookie } = await signInAsBob();
      const open = await Promise.all(Array.from({ length: 20 }, () => read(path, cookie)));
      expect(open.map(({ status }) => status)).toEqual(Array(20).fill(200));
      const requestsBefore = api.openRequestCount();
      const refused = await read(path, cookie);
      expect(refused.status).toBe(429);
      await refused.ended;
      expect(JSON.parse(refused.text())).toMatchObject({
        error: 'too_many_requests',
        limit: 'MAX_STREAMS_PER_SESSION',
      });
      await waitUntil(() => api.openRequestCount() === requestsBefore);
      const others = await read(path); // of another session
      expect(others.status).toBe(200);
      open[0]!.abort();
      const deadline = Date.now() + 2_000;
      let again = await read(path, cookie);
      while (again.status !== 200 && Date.now() < deadline) again = await read(path, cookie);
      expect(again.status).toBe(200);
      for (const each of [...open, others, again]) each.abort();
    },
  );
});
