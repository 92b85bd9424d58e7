import { setTimeout as delay } from 'node:timers/promises';
import {
  InMemorySpanExporter,
  NodeTracerProvider,
  type ReadableSpan,
  SimpleSpanProcessor,
} from '@opentelemetry/sdk-trace-node';
import { type ApiWorld, createApiWorld } from '../hostile/support/api-world.ts';

const traceId = '0af7651916cd43dd8448eb211c80319c';
const parentId = 'b7ad6b7169203331';
const exporter = new InMemorySpanExporter();
// As an operator's file does that --import loads before Latchkey.
const provider = new NodeTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] });
provider.register();

let api: ApiWorld;
beforeAll(async () => {
  api = await createApiWorld(undefined, { TRUST_PROXY: '127.0.0.1,::1' });
});
afterAll(async () => {
  await api.close();
  await provider.shutdown();
});
beforeEach(() => {
  api.recorder.respondWith(undefined);
  exporter.reset();
});

const spans = () => exporter.getFinishedSpans();
const idOf = (span: ReadableSpan | undefined) => span?.spanContext().spanId;

async function waitForSpan(name: string, kind?: number): Promise<ReadableSpan> {
  for (;;) {
    const found = spans().find((span) => span.name === name && (kind === undefined || span.kind === kind));
    if (found) return found;
    await delay(10);
  }
}

test('a request is a span below that of the trusted proxy, and the API gets the span of the call as its parent', async () => {
  const { forwarded } = await api.sendAndRecord('GET /api/profile?secret=x', [
    `traceparent: 00-${traceId}-${parentId}-01`,
  ]);
  const server = await waitForSpan('GET /api/profile', 1);
  const client = await waitForSpan('GET /api/profile', 2);
  const read = await waitForSpan('session read');
  expect(server.spanContext().traceId).toBe(traceId);
  expect(server.parentSpanContext?.spanId).toBe(parentId);
  expect(client.parentSpanContext?.spanId).toBe(idOf(server));
  expect(read.parentSpanContext?.spanId).toBe(idOf(server));
  expect(client.attributes).toMatchObject({ 'http.route': '/api/profile', 'http.response.status_code': 200 });
  const sent = forwarded[0]?.headers.find(([name]) => name === 'traceparent')?.[1];
  expect(sent).toBe(`00-${traceId}-${idOf(client)}-01`);
  const line = api.world.latchkey.logLines
    .map((each) => JSON.parse(each))
    .findLast(({ req }) => req?.path === '/api/profile');
  expect(line).toMatchObject({ traceId });
});

test('a request without a trace begins one, which is in its log line', async () => {
  await api.send('GET /signed-out');
  const server = await waitForSpan('GET');
  const line = api.world.latchkey.logLines
    .map((each) => JSON.parse(each))
    .findLast(({ req }) => req?.path === '/signed-out');
  expect(line.traceId).toBe(server.spanContext().traceId);
});

test('a login and a refresh have spans for the provider and the store, and concurrent traces do not mix', async () => {
  const browser = api.world.browser();
  await api.world.signIn(browser, 'bob', '/auth/login?return_to=/signed-out');
  const code = await waitForSpan('oauth authorization_code');
  const write = await waitForSpan('session write');
  expect(write.spanContext().traceId).toBe(code.spanContext().traceId);
  exporter.reset();
  await api.world.clock.advance(301);
  const ids = ['1', '2', '3', '4'].map((each) => traceId.replace(/^./, each));
  await Promise.all(
    ids.map((id) => browser.fetch('/api/profile', { headers: { traceparent: `00-${id}-${parentId}-01` } })),
  );
  await waitForSpan('session refresh');
  const refreshes = spans().filter(({ name }) => name === 'oauth refresh_token');
  expect(refreshes).toHaveLength(1);
  expect(ids).toContain(refreshes[0]?.spanContext().traceId);
  const calls = spans().filter(({ name, kind }) => name === 'GET /api/profile' && kind === 2);
  expect(calls.map((each) => each.spanContext().traceId).sort()).toEqual(ids);
});

test('a failed span has a code and no message; no span contains a query, a user, a session or a token', async () => {
  api.world.providerFaults.set({ path: /token$/, response: { status: 503 } });
  const browser = api.world.browser();
  await api.world.signIn(browser, 'alice', '/auth/login?return_to=/signed-out');
  api.world.providerFaults.set(undefined);
  await waitForSpan('oauth authorization_code');
  await api.send('GET /api/profile?secret=in-the-query');
  await waitForSpan('GET /api/profile', 1);
  const failed = spans().find(({ name }) => name === 'oauth authorization_code');
  expect(failed?.status).toEqual({ code: 2 });
  expect(failed?.attributes['error.type']).toMatch(/^[a-z_]+$/);
  const text = JSON.stringify(
    spans().map(({ name, attributes, events, status }) => ({ name, attributes, events, status })),
  );
  const secrets = [
    'alice',
    'in-the-query',
    api.accessToken,
    ...api.cookie.split(/[=;]/),
    ...api.world.issued.refresh,
  ];
  expect(secrets.filter((each) => each.trim().length > 4 && text.includes(each))).toEqual([]);
});

test('an API gets exactly one traceparent, and no baggage of a client', async () => {
  for (const headers of [
    [`traceparent: 00-${traceId}-${parentId}-01`, 'baggage: role=admin'],
    [`traceparent: 00-${traceId}-${parentId}-01`, `traceparent: 00-${traceId}-${parentId}-00`, 'b3: 1'],
  ]) {
    const { forwarded } = await api.sendAndRecord('GET /api/profile', headers);
    const names = forwarded[0]?.headers.map(([name]) => name).filter((name) => /trace|baggage|b3/.test(name));
    expect(names).toEqual(['traceparent']);
  }
});

test('a request span is not below that of an untrusted client', async () => {
  const untrusted = await createApiWorld();
  exporter.reset();
  const sampledOut = `traceparent: 00-${traceId}-${parentId}-00`;
  const { forwarded } = await untrusted.sendAndRecord('GET /api/profile', [
    sampledOut,
    'baggage: role=admin',
  ]);
  const server = await waitForSpan('GET /api/profile', 1);
  expect(server.spanContext().traceId).not.toBe(traceId);
  expect(forwarded[0]?.headers.find(([name]) => name === 'traceparent')?.[1]).toMatch(/-01$/);
  expect(forwarded[0]?.headers.find(([name]) => name === 'baggage')).toBeUndefined();
  await untrusted.close();
});

test('a very long or invalid traceparent begins a trace of its own', async () => {
  await api.send('GET /signed-out', [`traceparent: 00-${traceId}-${parentId}-01-${'x'.repeat(3_000)}`]);
  const server = await waitForSpan('GET');
  expect(server.spanContext().traceId).not.toBe(traceId);
  expect(server.parentSpanContext).toBeUndefined();
});
