import { parseForwardedAddress } from '../../src/middleware/client-address.ts';

test.each([
  ['203.0.113.5', '203.0.113.5'],
  [' 203.0.113.5:40000 ', '203.0.113.5'],
  ['2001:db8::1', '2001:db8::1'],
  ['[2001:db8::1]:40000', '2001:db8::1'],
  ['[2001:db8::1]', '2001:db8::1'],
  ['fe80::1%eth0', 'fe80::1'],
  ['::ffff:192.0.2.1', '::ffff:192.0.2.1'],
  ['garbage7', 'unknown'],
  ['unknown', 'unknown'],
  ['_hidden', 'unknown'],
  ['', 'unknown'],
  ['203.0.113.5:', 'unknown'],
  ['203.0.113.5:port', 'unknown'],
  ['203.0.113.999', 'unknown'],
  ['203.0.113.5/8', 'unknown'],
  ['[2001:db8::1', 'unknown'],
  ['app.example.com:80', 'unknown'],
])('the client address "%s" counts as %s', (value, address) => {
  expect(parseForwardedAddress(value)).toBe(address);
});
