import { Secret } from '../../src/crypto/secret.ts';
import { createSessionIds } from '../../src/session/session-id.ts';
import { createSessionKeys } from '../../src/stores/redis/keys.ts';
import { packId, packSession, unpackId, unpackSession } from '../../src/stores/session-members.ts';

const secrets = [new Secret('the-first-secret-of-these-tests-0123')];
const ids = createSessionIds({ secrets, registration: 'registration-one' }, Date.now);
const owned = ids.create('alice');
/** The last character of the random part, with a bit that its bytes do not have. */
const notCanonical = `${'A'.repeat(21)}B${'A'.repeat(38)}`;

test.each([
  ['an id with an owner tag', owned],
  ['an id without an owner tag', ids.create(undefined)],
  ['a text of the same form whose bytes are those of another id', notCanonical],
  ['any other text', 'session one é'],
])('%s is the same after it was packed', (_what, id) => {
  const hashes = ['first', 'second'].map((each) => Buffer.from(each.padEnd(12)));
  expect(unpackId(packId(id))).toBe(id);
  for (const count of [0, 1, 2])
    expect(unpackSession(packSession({ id, hashes: hashes.slice(0, count) }))).toEqual({
      id,
      hashes: hashes.slice(0, count),
    });
});

test('two ids are never the same bytes', () => {
  const canonical = 'A'.repeat(60);
  expect(packId(notCanonical)).not.toEqual(packId(canonical));
  expect(packId(packId(canonical).toString('latin1'))).not.toEqual(packId(canonical));
});

test('a packed id has at most 64 bytes, up to which Redis stores a small sorted set compactly', () => {
  expect(packId(owned)).toHaveLength(45);
});

test('the Redis keys of a session have only the random part of its id, and other ids as they are', () => {
  const keyOf = createSessionKeys('app:', 'registration-one');
  expect(keyOf(owned, 'tokens')).toBe(`app:{s:registration-one:${owned.slice(0, 22)}}:tokens`);
  for (const id of ['one', ids.create(undefined), `${owned}x`])
    expect(keyOf(id, 'data')).toBe(`app:{s:registration-one:${id}}:data`);
});
