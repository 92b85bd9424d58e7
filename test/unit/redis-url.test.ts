import { parseRedisUrl, readRedisUrl } from '../../src/config/redis-url.ts';

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
  [
    'rediss+sentinel://:pw@a/main?db=2',
    { kind: 'sentinel', tls: true, password: 'pw', name: 'main', database: 2 },
  ],
  ['rediss+cluster://a,b', { kind: 'cluster', tls: true }],
  ['redis+cluster://a:1/0?family=6', { kind: 'cluster', family: 6 }],
  ['redis://redis.internal/1?family=4', { database: 1, family: 4 }],
  ['redis://a?db=4', { database: 4 }],
  [
    'unix:///run/redis/redis.sock',
    { kind: 'server', socketPath: '/run/redis/redis.sock', nodes: [], tls: false },
  ],
  ['unix:///run/a@b%20c?db=1', { socketPath: '/run/a@b c', database: 1 }],
  ['unix://me:pw@/run/redis.sock', { socketPath: '/run/redis.sock', username: 'me', password: 'pw' }],
  ['redis://:a:b@h', { password: 'a:b' }],
  ['redis://:%41%25@h', { password: 'A%' }],
  ['redis://:p%C3%A4ss@h', { password: 'päss' }],
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

test.each([
  ...['redis://:100%pure@h', 'redis://:a/b@c@h:6379', 'redis://:a@b@h', 'redis://:a/b@h', 'redis://:a?b@h'],
  ...[
    'redis://:a#b@h',
    'redis://:a b@h',
    'redis://a%zz:b@h',
    'redis+sentinel://:a/b@h/main',
    'redis://:%E4@h',
  ],
  ...['redis+cluster://:a%@h1,h2', 'unix://:a/b@/run/redis.sock', 'redis://:[a]@h'],
])('a special character that is not percent-encoded is named as the problem of %s', (url) => {
  expect(readRedisUrl(url)).toMatch(/^must percent-encode special characters in the user and the password/);
});

test.each([
  ['redis://secret@h', /^has a user without a password/],
  ['redis://secret:@h', /^has a user without a password/],
  ['redis://h?ssl=true', /^has a parameter that is not supported/],
  ['redis://h?family=5', /^has a parameter that is not supported/],
  ['redis+cluster://h?db=1', /^has a parameter that is not supported/],
  ['redis://h/1?db=2', /^must not contain two databases/],
  ['unix://run/redis.sock', /^must be one of/],
  ['unix:///', /^must be one of/],
  ['redis+cluster://a/1', /^must be one of/],
])('the message for %s says what to change, without a part of the URL', (url, message) => {
  expect(readRedisUrl(url)).toMatch(message);
  expect(readRedisUrl(url)).not.toContain('secret');
});
