import { connect, type Socket } from 'node:net';
import { type ApiWorld, createApiWorld } from './support/api-world.ts';
import { readSession } from './support/logged-in.ts';
import { formatHead, waitUntil } from './support/raw-http.ts';

const formHead = ['Host: localhost', 'Content-Type: application/x-www-form-urlencoded'];
const sameOrigin = ['Sec-Fetch-Site: same-origin', 'Accept: application/json'];

let api: ApiWorld;
const sockets: Socket[] = [];
beforeAll(async () => {
  const routes = [
    { path: '/data', target: '/data', methods: { POST: {} } },
    { path: '/open', target: '/open', methods: { POST: {} }, token: 'none' },
  ];
  api = await createApiWorld(routes, { OAUTH2_SCOPES: 'openid read:data write:data' });
});
afterAll(() => api.close());
afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
});

interface Sent {
  readonly socket: Socket;
  text(): string;
  isClosed(): boolean;
}

/** Sends the head of a POST and `body`, which is shorter than the head says, and leaves the connection open. */
function post(path: string, headers: readonly string[], body = 'row='): Sent {
  const socket = connect(Number(new URL(api.world.origin).port), '127.0.0.1');
  sockets.push(socket);
  let text = '';
  let isClosed = false;
  socket.on('data', (chunk) => {
    text += chunk.toString('latin1');
  });
  socket.on('error', () => undefined);
  socket.on('close', () => {
    isClosed = true;
  });
  const head = [...formHead, 'Content-Length: 1000', ...sameOrigin, ...headers];
  socket.write(formatHead(`POST ${path}`, head));
  socket.write(body);
  return { socket, text: () => text, isClosed: () => isClosed };
}

const statusOf = ({ text }: Sent) => Number(/^HTTP\/1\.1 (\d{3})/.exec(text())?.[1] ?? 0);

test.each(['', 'latchkey=s%3Aforged.forged', 'other=1'])(
  'a stranger (cookie "%s") who posts to /auth/console gets 401 before the body is complete',
  async (cookie) => {
    const sent = post('/auth/console', cookie === '' ? [] : [`Cookie: ${cookie}`]);
    await waitUntil(() => statusOf(sent) === 401);
  },
);

test('the fifth body that one user leaves incomplete at once gets 429, and other users still get through', async () => {
  const sent = [1, 2, 3, 4, 5].map(() => post('/auth/console', [`Cookie: ${api.cookie}`]));
  await waitUntil(() => sent.some((each) => statusOf(each) !== 0));
  expect(sent.map(statusOf).sort()).toEqual([0, 0, 0, 0, 429]);
  expect(sent.find((each) => statusOf(each) === 429)!.text()).toMatch(/\r\nRetry-After: 1\r\n/);
  const bobs = api.world.browser();
  await api.world.signIn(bobs, 'bob');
  const other = await bobs.fetch('/auth/console', {
    method: 'POST',
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
    body: 'row=POST+%2Fdata',
  });
  expect(other.status).toBe(201);
});

test('a form that arrives byte by byte gets 408 ten seconds after its first byte', async () => {
  const sent = post('/auth/console', [`Cookie: ${api.cookie}`]);
  const startedAt = Date.now();
  const trickle = setInterval(() => sent.socket.write('x'), 200);
  const closed = new Promise<void>((resolve) => sent.socket.once('close', () => resolve()));
  await closed;
  clearInterval(trickle);
  expect(statusOf(sent)).toBe(408);
  expect(sent.text()).toMatch(/\r\nConnection: close\r\n/i);
  expect(Date.now() - startedAt).toBeLessThan(14_000);
}, 30_000);

test('of the forms that one address leaves incomplete after its session expired, only sixteen are waited for', async () => {
  const browser = api.world.browser();
  await api.world.signIn(browser);
  const { cookie } = await readSession(browser);
  await api.world.clock.advance(604_800);
  const form = [`Cookie: ${cookie}`, 'Sec-Fetch-Mode: navigate'];
  const sent = Array.from({ length: 20 }, () => post('/api/data', form));
  const answered = () => sent.filter((each) => statusOf(each) !== 0);
  await waitUntil(() => answered().length >= 4);
  const later = [post('/api/data', form), post('/api/data', form)];
  await waitUntil(() => later.every((each) => statusOf(each) === 401)); // by then, all the others would be answered too
  expect(answered().map(statusOf)).toEqual([401, 401, 401, 401]);
});
