import { type ApiWorld, createApiWorld } from '../hostile/support/api-world.ts';

const traceId = '0af7651916cd43dd8448eb211c80319c';
const traceparent = `00-${traceId}-b7ad6b7169203331-01`;

/** The values of the headers that the API receives for a request with these headers. */
async function forward(api: ApiWorld, headers: readonly string[], names = ['traceparent', 'tracestate']) {
  const { forwarded } = await api.sendAndRecord('GET /api/profile', headers);
  return names.map((name) => forwarded[0]?.headers.find(([each]) => each === name)?.[1]);
}

describe('behind a trusted proxy, without an OpenTelemetry SDK', () => {
  let api: ApiWorld;
  beforeAll(async () => {
    api = await createApiWorld(undefined, { TRUST_PROXY: '127.0.0.1,::1' });
  });
  afterAll(() => api.close());
  beforeEach(() => api.recorder.respondWith(undefined));

  test('traceparent and tracestate are forwarded unchanged, and the log lines of the request have the trace id', async () => {
    api.world.latchkey.logLines.length = 0;
    expect(await forward(api, [`traceparent: ${traceparent}`, 'tracestate: a=1,b=2'])).toEqual([
      traceparent,
      'a=1,b=2',
    ]);
    const lines = api.world.latchkey.logLines.map((line) => JSON.parse(line));
    expect(lines.filter(({ path }) => path === '/api/profile')).toMatchObject([{ traceId }]);
  });

  test.each([
    ['the version is ff', traceparent.replace(/^00/, 'ff')],
    ['the trace id is zero', traceparent.replace(traceId, '0'.repeat(32))],
    ['the parent id is zero', traceparent.replace('b7ad6b7169203331', '0'.repeat(16))],
    ['it is in upper case', traceparent.toUpperCase()],
    ['it is too short', traceparent.slice(0, -1)],
    ['version 00 has a further part', `${traceparent}-00`],
    ['it is very long', `01${traceparent.slice(2)}-${'x'.repeat(4_000)}`],
    ['it contains two values', `${traceparent}, ${traceparent}`],
    ['it is text', 'hello'],
  ])('a traceparent is not forwarded if %s, nor is its tracestate', async (_what, value) => {
    expect(await forward(api, [`traceparent: ${value}`, 'tracestate: a=1'])).toEqual([undefined, undefined]);
  });

  test('two traceparent headers are forwarded as none', async () => {
    const headers = [`traceparent: ${traceparent}`, `traceparent: ${traceparent.replace(/01$/, '00')}`];
    expect(await forward(api, headers)).toEqual([undefined, undefined]);
  });

  test('a tracestate that is too long is not forwarded, its traceparent is', async () => {
    const headers = [`traceparent: ${traceparent}`, `tracestate: a=${'x'.repeat(600)}`];
    expect(await forward(api, headers)).toEqual([traceparent, undefined]);
  });

  test('a tracestate without a traceparent is not forwarded', async () => {
    expect(await forward(api, ['tracestate: a=1'])).toEqual([undefined, undefined]);
  });
});

describe('without a trusted proxy', () => {
  let api: ApiWorld;
  beforeAll(async () => {
    api = await createApiWorld();
  });
  afterAll(() => api.close());
  beforeEach(() => api.recorder.respondWith(undefined));

  test('a client cannot choose the trace: its headers are neither forwarded nor logged', async () => {
    const headers = [`traceparent: ${traceparent}`, 'tracestate: a=1', 'X-Forwarded-For: 10.0.0.1'];
    expect(await forward(api, headers)).toEqual([undefined, undefined]);
    expect(api.world.latchkey.logLines.join('')).not.toContain(traceId);
  });
});
