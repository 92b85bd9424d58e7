import { type Challenge, readChallenge } from '../../src/oauth/challenge.ts';
import { readLoginRequirements } from '../../src/oauth/login-requirements.ts';

const scope = ['write:data'];
const tooLong = 'x'.repeat(5_000);

test.each<[string, string | string[] | undefined, Challenge | undefined]>([
  ['no header', undefined, undefined],
  ['an empty header', '', undefined],
  ['a challenge without parameters', 'Bearer', undefined],
  ['a challenge without an error', 'Bearer realm="api"', undefined],
  [
    'insufficient_scope with a scope (RFC 6750 3.1)',
    'Bearer realm="api", error="insufficient_scope", scope="write:data"',
    { error: 'insufficient_scope', scope },
  ],
  [
    'an error without a scope',
    'Bearer error="insufficient_scope"',
    { error: 'insufficient_scope', scope: [] },
  ],
  [
    'insufficient_user_authentication (RFC 9470 3)',
    'Bearer error="insufficient_user_authentication", error_description="More", acr_values="gold  silver", max_age="5"',
    { error: 'insufficient_user_authentication', scope: [], acrValues: 'gold silver', maxAge: 5 },
  ],
  ['a number without quotes', 'bearer error=x,max_age=0', { error: 'x', scope: [], maxAge: 0 }],
  ['names in capitals', 'BEARER ERROR="x", SCOPE="write:data"', { error: 'x', scope }],
  [
    'DPoP',
    'DPoP error="insufficient_scope", scope="write:data", algs="ES256"',
    { error: 'insufficient_scope', scope },
  ],
  ['another scheme', 'Basic realm="x", error="insufficient_scope"', undefined],
  [
    'a challenge after one with another scheme',
    'Basic realm="a, b", Bearer error="x", scope="write:data"',
    { error: 'x', scope },
  ],
  ['a second header', ['Negotiate abc==', 'Bearer error="x", scope="write:data"'], { error: 'x', scope }],
  [
    'two challenges with the same scheme, of which the first counts',
    'Bearer error="a", Bearer error="b"',
    { error: 'a', scope: [] },
  ],
  [
    'escaped quotes',
    'Bearer error="x", realm="a \\" , scope=\\"evil", scope="write:data"',
    { error: 'x', scope },
  ],
  ['a scope that occurs twice', 'Bearer error="x", scope="write:data write:data"', { error: 'x', scope }],
])('readChallenge handles %s', async (_what, header, expected) => {
  expect(await readChallenge(header)).toEqual(expected);
});

test.each<[string, string | string[]]>([
  ['an unterminated quote', 'Bearer error="x'],
  ['a line break', 'Bearer error="x"\r\nSet-Cookie: a=b'],
  ['a NUL', 'Bearer error="x\0"'],
  ['characters outside Latin-1', 'Bearer error="x", scope="日本"'],
  ['a header of 5,000 characters', `Bearer error="x", realm="${tooLong}"`],
  ['5,000 headers', Array.from({ length: 5_000 }, () => 'Bearer error="x"')],
  ['nothing but commas', ',,,,'],
  ['nothing but equals signs', '= = ='],
  ['a parameter without a scheme', 'error="insufficient_scope"'],
  ['an error with markup', 'Bearer error="<script>"'],
  ['an error with a space', 'Bearer error="insufficient_scope x"'],
  ['an error of 65 letters', `Bearer error="${'e'.repeat(65)}"`],
  ['an empty error', 'Bearer error=""'],
  ['names of prototype properties', 'Bearer __proto__="x", constructor="y"'],
])('readChallenge returns undefined for %s', async (_what, header) => {
  expect(await readChallenge(header)).toBeUndefined();
});

test.each<[string, string, Challenge]>([
  ['scopes with quotes in them', 'scope="a \\"b\\" c\\\\ d"', { error: 'x', scope: ['a', 'd'] }],
  ['scopes with a tab or a Latin-1 letter', 'scope="a\tb é ok"', { error: 'x', scope: ['ok'] }],
  ['a scope of more than 1,000 characters', `scope="${'s '.repeat(501)}"`, { error: 'x', scope: [] }],
  ['an acr of more than 300 characters', `acr_values="${'a'.repeat(301)}"`, { error: 'x', scope: [] }],
  ['acr values with quotes in them', 'acr_values="\\"a\\" b"', { error: 'x', scope: [], acrValues: 'b' }],
  ['a negative age', 'max_age="-1"', { error: 'x', scope: [] }],
  ['an age of half a second', 'max_age="0.5"', { error: 'x', scope: [] }],
  ['an age in hexadecimal', 'max_age="0x10"', { error: 'x', scope: [] }],
  ['an age with an exponent', 'max_age=1e3', { error: 'x', scope: [] }],
  ['an empty age', 'max_age=""', { error: 'x', scope: [] }],
  ['an age that exceeds every number type', 'max_age="99999999999999999999"', { error: 'x', scope: [] }],
])('readChallenge ignores malformed values: %s', async (_what, parameter, expected) => {
  expect(await readChallenge(`Bearer error="x", ${parameter}`)).toEqual(expected);
});

test('readLoginRequirements ignores a query parameter that occurs twice', () => {
  const query = { scope: ['a', 'b'], acr_values: ['a'], max_age: ['1', '2'] };
  expect(readLoginRequirements(query)).toEqual({ scope: [] });
});

test('readChallenge takes under two seconds even for headers designed to be slow to parse', async () => {
  const startedAt = performance.now();
  for (const part of ['a=b,', 'a ', '"\\"', 'a="', ',', ' =', 'Bearer ', '\\'])
    await readChallenge(`Bearer error="x", ${part.repeat(4_000 / part.length)}`);
  expect(performance.now() - startedAt).toBeLessThan(2_000);
});
