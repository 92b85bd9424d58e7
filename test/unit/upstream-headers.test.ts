import type { Request } from 'express';
import { createUpstreamHeadersBuilder } from '../../src/proxy/request-headers.ts';

const row = { targetPath: '/', headers: {}, identityHeaders: {}, requestHeaders: [], forwardedFor: true };
const build = (ip: string | undefined) =>
  createUpstreamHeadersBuilder(row)({ headers: {}, id: 'id', ip } as unknown as Request, false);

test.each([
  ['203.0.113.7', '203.0.113.7'],
  ['203.0.113.7:51234', '203.0.113.7'],
  ['::ffff:203.0.113.7', '203.0.113.7'],
  ['2001:db8::7', '2001:db8::7'],
  ['[2001:db8::7]:51234', '2001:db8::7'],
  ['[2001:db8::7]', '2001:db8::7'],
])('with forwardedFor, the address %s reaches the API as %s', (ip, sent) => {
  expect(build(ip)).toHaveProperty('x-forwarded-for', sent);
});

test.each([['garbage7'], ['unknown'], [''], [undefined], ['1.2.3.4, 5.6.7.8'], ['_hidden'], ['1.2.3.4\t']])(
  'with forwardedFor, %p is no address and is not sent',
  (ip) => {
    expect(build(ip)).not.toHaveProperty('x-forwarded-for');
  },
);
