import { parseRedisUrl } from '../../src/config/redis-url.ts';

test.each([
  [
    'redis://localhost',
    { kind: 'server', nodes: [{ host: 'localhost', port: 6379 }], tls: false, database: 0 },
  ],
  ['redis://localhost:6380/2', { kind: 'server', nodes: [{ host: 'localhost', port: 6380 }], database: 2 }],
  [
    'rediss://me:p%40ss@r.example:1',
    { tls: true, username: 'me', password: 'p@ss', nodes: [{ host: 'r.example', port: 1 }] },
  ],
  ['redis://:pw@[::1]:6379', { password: 'pw', nodes: [{ host: '::1', port: 6379 }] }],
  [
    'redis+sentinel://a:26379,b/main',
    {
      kind: 'sentinel',
      name: 'main',
      nodes: [
        { host: 'a', port: 26379 },
        { host: 'b', port: 26379 },
      ],
    },
  ],
  [
    'redis+cluster://a:1,b:2',
    {
      kind: 'cluster',
      nodes: [
        { host: 'a', port: 1 },
        { host: 'b', port: 2 },
      ],
    },
  ],
])('parseRedisUrl parses %s', (url, expected) => {
  expect(parseRedisUrl(url)).toMatchObject(expected);
});

test.each([
  'http://localhost',
  'localhost:6379',
  'redis://',
  'redis://a,b',
  'redis://a:0',
  'redis://a:99999',
  'redis://a/db',
  'redis+sentinel://a:1,b:2',
  'redis+cluster://a:x',
  'redis+other://a',
])('parseRedisUrl rejects %s', (url) => {
  expect(parseRedisUrl(url)).toBeUndefined();
});
