import { createSealer, type Sealer } from '../../src/crypto/sealing.ts';
import { Secret } from '../../src/crypto/secret.ts';
import { createOpenedRecords } from '../../src/stores/opened-records.ts';
import { UnreadableRecordError } from '../../src/tokens/token-store.ts';

const secret = new Secret('a-secret-that-is-long-enough-for-a-test');
const sealer = createSealer({ secrets: [secret], registration: 'registration' }, 'tokens');
let unsealed = 0;
const counting: Sealer = {
  seal: sealer.seal,
  unseal(sealed, context) {
    unsealed += 1;
    return sealer.unseal(sealed, context);
  },
};

beforeEach(() => {
  unsealed = 0;
});

test('bytes are opened once, however often they are read', () => {
  const open = createOpenedRecords<object>(counting);
  const sealed = sealer.seal({ user: 'alice' }, 'key');
  for (let each = 0; each < 3; each += 1) expect(open('key', Buffer.from(sealed))).toEqual({ user: 'alice' });
  expect(unsealed).toBe(1);
});

test('bytes that have changed are opened, and what is not there is not found', () => {
  const open = createOpenedRecords<object>(counting);
  open('key', sealer.seal({ version: 1 }, 'key'));
  expect(open('key', sealer.seal({ version: 2 }, 'key'))).toEqual({ version: 2 });
  expect(open('key', null)).toBeUndefined();
});

test('the record of one key is not found under another, and bytes that changed on their way are unreadable', () => {
  const open = createOpenedRecords<object>(counting);
  const sealed = sealer.seal({ user: 'alice' }, 'key');
  open('key', sealed);
  expect(() => open('another key', sealed)).toThrow(UnreadableRecordError);
  sealed[20]! ^= 1;
  expect(() => open('key', sealed)).toThrow(UnreadableRecordError);
});

test('a reader that changes the bytes afterwards does not change what is compared', () => {
  const open = createOpenedRecords<object>(counting);
  const sealed = sealer.seal({ user: 'alice' }, 'key');
  const original = Buffer.from(sealed);
  open('key', sealed);
  sealed.fill(0);
  expect(open('key', original)).toEqual({ user: 'alice' });
  expect(() => open('key', sealed)).toThrow(UnreadableRecordError);
});

test('however many sessions there are, at most 8 MiB of sealed records are remembered, the latest ones', () => {
  const open = createOpenedRecords<object>(counting);
  const text = 'x'.repeat(100_000);
  const records = Array.from({ length: 200 }, (_each, n) => sealer.seal({ n, text }, `key ${n}`));
  for (const [n, each] of records.entries()) open(`key ${n}`, each);
  unsealed = 0;
  for (let n = 150; n < 200; n += 1) open(`key ${n}`, records[n]!);
  expect(unsealed).toBe(0);
  open('key 0', records[0]!);
  expect(unsealed).toBe(1);
});
