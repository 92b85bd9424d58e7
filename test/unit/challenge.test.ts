import { type Challenge, readChallenge } from '../../src/oauth/challenge.ts';
import { readLoginRequirements } from '../../src/oauth/login-requirements.ts';

const scope = ['write:data'];
const tooLong = 'x'.repeat(5_000);

test.each<[string, string | string[] | undefined, Challenge | undefined]>([
  ['no header', undefined, undefined],
  ['an empty header', '', undefined],
  ['a challenge that says nothing', 'Bearer', undefined],
  ['a challenge without an error', 'Bearer realm="api"', undefined],
  [
    'a scope that is missing (RFC 6750 3.1)',
    'Bearer realm="api", error="insufficient_scope", scope="write:data"',
    { error: 'insufficient_scope', scope },
  ],
  ['an error alone', 'Bearer error="insufficient_scope"', { error: 'insufficient_scope', scope: [] }],
  [
    'a stronger login (RFC 9470 3)',
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
    'the second of two challenges',
    'Basic realm="a, b", Bearer error="x", scope="write:data"',
    { error: 'x', scope },
  ],
  [
    'the second of two headers',
    ['Negotiate abc==', 'Bearer error="x", scope="write:data"'],
    { error: 'x', scope },
  ],
  ['the first of two for the same scheme', 'Bearer error="a", Bearer error="b"', { error: 'a', scope: [] }],
  [
    'escaped quotes',
    'Bearer error="x", realm="a \\" , scope=\\"evil", scope="write:data"',
    { error: 'x', scope },
  ],
  ['a scope named twice', 'Bearer error="x", scope="write:data write:data"', { error: 'x', scope }],
])('%s is read for what it says', async (_what, header, expected) => {
  expect(await readChallenge(header)).toEqual(expected);
});

test.each<[string, string | string[]]>([
  ['a quote that never ends', 'Bearer error="x'],
  ['a line break', 'Bearer error="x"\r\nSet-Cookie: a=b'],
  ['a NUL', 'Bearer error="x\0"'],
  ['letters beyond Latin-1', 'Bearer error="x", scope="日本"'],
  ['a header of 5,000 characters', `Bearer error="x", realm="${tooLong}"`],
  ['five thousand headers', Array.from({ length: 5_000 }, () => 'Bearer error="x"')],
  ['nothing but commas', ',,,,'],
  ['equals signs', '= = ='],
  ['a parameter without a scheme', 'error="insufficient_scope"'],
  ['an error that is markup', 'Bearer error="<script>"'],
  ['an error with a space', 'Bearer error="insufficient_scope x"'],
  ['an error of 65 letters', `Bearer error="${'e'.repeat(65)}"`],
  ['an empty error', 'Bearer error=""'],
  ['a prototype', 'Bearer __proto__="x", constructor="y"'],
])('%s is no challenge, and no failure either', async (_what, header) => {
  expect(await readChallenge(header)).toBeUndefined();
});

test.each<[string, string, Challenge]>([
  ['scopes with quotes in them', 'scope="a \\"b\\" c\\\\ d"', { error: 'x', scope: ['a', 'd'] }],
  ['scopes with a tab or a letter of Latin-1', 'scope="a\tb é ok"', { error: 'x', scope: ['ok'] }],
  ['a scope of more than 1,000 characters', `scope="${'s '.repeat(501)}"`, { error: 'x', scope: [] }],
  ['an acr of more than 300 characters', `acr_values="${'a'.repeat(301)}"`, { error: 'x', scope: [] }],
  ['acr values with quotes in them', 'acr_values="\\"a\\" b"', { error: 'x', scope: [], acrValues: 'b' }],
  ['a negative age', 'max_age="-1"', { error: 'x', scope: [] }],
  ['half a second', 'max_age="0.5"', { error: 'x', scope: [] }],
  ['an age in hexadecimal', 'max_age="0x10"', { error: 'x', scope: [] }],
  ['an age with an exponent', 'max_age=1e3', { error: 'x', scope: [] }],
  ['an age that is empty', 'max_age=""', { error: 'x', scope: [] }],
  ['an age that is longer than anything', 'max_age="99999999999999999999"', { error: 'x', scope: [] }],
])('of a challenge with %s only what is sound is used', async (_what, parameter, expected) => {
  expect(await readChallenge(`Bearer error="x", ${parameter}`)).toEqual(expected);
});

test('a parameter that a query names twice is not used', () => {
  const query = { scope: ['a', 'b'], acr_values: ['a'], max_age: ['1', '2'] };
  expect(readLoginRequirements(query)).toEqual({ scope: [] });
});

test('a header made to be slow is read in a moment', async () => {
  const begun = performance.now();
  for (const part of ['a=b,', 'a ', '"\\"', 'a="', ',', ' =', 'Bearer ', '\\'])
    await readChallenge(`Bearer error="x", ${part.repeat(4_000 / part.length)}`);
  expect(performance.now() - begun).toBeLessThan(2_000);
});
