import { randomBytes } from 'node:crypto';
import { deflateSync } from 'node:zlib';
import { createSealer } from '../../src/crypto/sealing.ts';
import { Secret } from '../../src/crypto/secret.ts';
import { compressedText } from '../../src/stores/compressed-text.ts';

const source = {
  secrets: [new Secret('the-first-secret-of-these-tests-0123')],
  registration: 'registration-one',
};
const { encode, decode } = compressedText;

test.each([
  ['an empty text', ''],
  ['a text of more than one alphabet', '{"name":"Zoë 王 😀"}'],
  ['random tokens as long as a response of the provider can be', randomBytes(786_432).toString('base64url')],
])('%s is the same after it was compressed', (_what, text) => {
  expect(decode(encode(text))).toBe(text);
});

test('random text in base64url takes three quarters of its length', () => {
  const text = randomBytes(1_536).toString('base64url');
  expect(encode(text).length / text.length).toBeLessThan(0.79);
});

test('bytes that expand to more than 16 MiB are rejected', () => {
  expect(() => decode(encode('x'.repeat(16 * 1024 * 1024 + 1)))).toThrow();
});

test.each([
  ['text that is not compressed', Buffer.from('{"user":"alice","v":1}')],
  [
    'text that was compressed with another dictionary',
    deflateSync('{"v":1}', { dictionary: Buffer.from('"v":') }),
  ],
])('a record that is sealed as %s cannot be unsealed', (_what, encoded) => {
  const other = { encode: () => encoded, decode };
  const sealed = createSealer(source, 'tokens', other).seal({}, 'key');
  expect(createSealer(source, 'tokens', compressedText).unseal(sealed, 'key')).toBeUndefined();
});
