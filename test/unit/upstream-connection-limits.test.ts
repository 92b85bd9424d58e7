import { loadConfig } from '../../src/config/load.ts';
import { createMetrics } from '../../src/metrics/metrics.ts';
import { createStreamCounters, type StreamCounters } from '../../src/proxy/stream-limits.ts';

const limits = {
  ...{ streams: 0, streamsPerAddress: 0, streamsPerUser: 0, streamsPerSession: 0 },
  ...{ upstreamConnections: 3, upstreamConnectionsPerUser: 2, upstreamConnectionsPerAddress: 2 },
};

describe('connections to an API host are limited', () => {
  const origin = 'https://api.example.com';
  let streams: StreamCounters;
  beforeEach(() => {
    streams = createStreamCounters(limits, createMetrics());
  });
  const owner = (sessionId: string | undefined, userId: string | undefined, address: string) => ({
    ...{ sessionId, userId, address },
  });
  const connect = (...parts: Parameters<typeof owner>) => streams.reserveConnection(origin, owner(...parts));
  const expectRefused = (
    open: () => unknown,
    limit: string,
    code = limit === 'MAX_UPSTREAM_CONNECTIONS' ? 'temporarily_unavailable' : 'too_many_requests',
  ) => expect(open).toThrow(expect.objectContaining({ code, limit, retryAfterSeconds: 1 }));

  test('in total, whoever uses them, and each host on its own', () => {
    const [first] = ['alice', 'bob', 'carol'].map((user) => connect(user, user, '192.0.2.1'));
    expectRefused(() => connect('d', 'dave', '192.0.2.1'), 'MAX_UPSTREAM_CONNECTIONS');
    streams.reserveConnection('https://other.example.com', owner('d', 'dave', '192.0.2.1'));
    first!();
    first!();
    connect('d', 'dave', '192.0.2.1');
    expectRefused(() => connect('e', 'erin', '192.0.2.1'), 'MAX_UPSTREAM_CONNECTIONS');
  });

  test('per user, in all sessions and from all addresses', () => {
    const release = connect('a1', 'alice', '192.0.2.1');
    connect('a2', 'alice', '192.0.2.2');
    const again = () => connect('a3', 'alice', '192.0.2.3');
    expectRefused(again, 'MAX_UPSTREAM_CONNECTIONS_PER_USER');
    connect('b', 'bob', '192.0.2.1');
    release();
    again();
  });

  test('per session and address of a user without `sub`', () => {
    connect('a', undefined, '192.0.2.1');
    connect('a', undefined, '192.0.2.2');
    const sameSession = () => connect('a', undefined, '192.0.2.3');
    expectRefused(sameSession, 'MAX_UPSTREAM_CONNECTIONS_PER_USER');
    connect('b', undefined, '192.0.2.1');
    const sameAddress = () => connect('c', undefined, '192.0.2.1');
    expectRefused(sameAddress, 'MAX_UPSTREAM_CONNECTIONS_PER_ADDRESS');
  });

  test.each([
    ['an IPv4 address with several ports', (n: number) => `192.0.2.1:${40_000 + n}`],
    ['several addresses of one IPv6 network', (n: number) => `2001:db8:0:${n}::1`],
    ['values that are no addresses', (n: number) => `garbage${n}`],
  ])('per network without a session: %s', (_what, addressOf) => {
    const stranger = (n: number) => connect(undefined, undefined, addressOf(n));
    stranger(1);
    stranger(2);
    expectRefused(() => stranger(3), 'MAX_UPSTREAM_CONNECTIONS_PER_ADDRESS');
    connect('a', 'alice', addressOf(4));
  });

  test('by default such that 500 users behind one NAT have three each, and others the rest', () => {
    const { limits: defaults } = loadConfig({
      OAUTH2_ISSUER: 'https://login.example.com',
      OAUTH2_CLIENT_ID: 'client',
      OAUTH2_CLIENT_SECRET: 'hush-hush',
      OAUTH2_REDIRECT_URI: 'http://localhost:3000/auth/callback',
      OAUTH2_API_BASE_URL: 'https://api.example.com',
      SESSION_SECRET: 'a-secret-for-tests-that-is-long-enough',
    });
    const { reserveConnection } = createStreamCounters(defaults, createMetrics());
    const stranger = () => reserveConnection(origin, owner(undefined, undefined, '192.0.2.1'));
    for (let n = 0; n < 1_500; n += 1) stranger();
    expectRefused(stranger, 'MAX_UPSTREAM_CONNECTIONS_PER_ADDRESS');
    for (let n = 0; n < 500; n += 1) reserveConnection(origin, owner(`s${n}`, `user${n}`, '192.0.2.1'));
  });
});
