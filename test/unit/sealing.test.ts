import { createSealer, deriveKeys, formatVersion, seal } from '../../src/crypto/sealing.ts';
import { Secret } from '../../src/crypto/secret.ts';

const source = {
  secrets: [new Secret('the-first-secret-of-these-tests-0123')],
  registration: 'registration-one',
};
const record = { user: 'alice' };
const sealWithVersion = (v: unknown) =>
  seal(deriveKeys(source, 'tokens')[0]!, JSON.stringify({ ...record, v }), 'key');

test('a sealed record is unsealed without its format version', () => {
  const sealer = createSealer(source, 'tokens');
  expect(sealer.unseal(sealer.seal(record, 'key'), 'key')).toEqual(record);
  expect(sealer.unseal(sealWithVersion(formatVersion), 'key')).toEqual(record);
});

test.each([
  ['a newer format version', sealWithVersion(formatVersion + 1)],
  ['no format version', sealWithVersion(undefined)],
  ['another purpose', createSealer(source, 'revocations').seal(record, 'key')],
  ['another context', createSealer(source, 'tokens').seal(record, 'another key')],
  [
    'another client registration',
    createSealer({ ...source, registration: 'registration-two' }, 'tokens').seal(record, 'key'),
  ],
  [
    'another secret',
    createSealer({ ...source, secrets: [new Secret('another-secret-of-these-tests-456789')] }, 'tokens').seal(
      record,
      'key',
    ),
  ],
])('a record of %s cannot be unsealed', (_what, sealed) => {
  expect(createSealer(source, 'tokens').unseal(sealed, 'key')).toBeUndefined();
});
