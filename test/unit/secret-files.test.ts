import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Field } from '../../src/config/field-types.ts';
import { fields, variables } from '../../src/config/fields.ts';
import { loadConfig } from '../../src/config/load.ts';
import { Secret } from '../../src/crypto/secret.ts';

const secrets = {
  SESSION_SECRET: 'a-secret-for-tests-that-is-long-enough',
  OAUTH2_CLIENT_SECRET: 'hush, hush ',
};
const rest = {
  OAUTH2_ISSUER: 'https://login.example.com',
  OAUTH2_CLIENT_ID: 'client',
  OAUTH2_REDIRECT_URI: 'http://localhost:3000/auth/callback',
  OAUTH2_API_BASE_URL: 'https://api.example.com',
  OAUTH2_APP_CLIENT_ID: 'app',
};

const folder = mkdtempSync(join(tmpdir(), 'latchkey-secrets-'));
afterAll(() => rmSync(folder, { recursive: true }));
let files = 0;
function file(content: string | Buffer): string {
  files += 1;
  const path = join(folder, String(files));
  writeFileSync(path, content);
  return path;
}

function messageOf(env: Record<string, string>): string {
  try {
    loadConfig(env);
    return 'valid';
  } catch (error) {
    return (error as Error).message;
  }
}

test('every secret can be read from a file, and its value is exactly that of the file', () => {
  const values = {
    ...secrets,
    OAUTH2_CLIENT_SECRET_NEXT: 'next$#"',
    OAUTH2_APP_CLIENT_SECRET: 'ä b',
    OAUTH2_APP_CLIENT_SECRET_NEXT: 'c',
    REDIS_URL: 'redis://:pw@redis',
  };
  const twins = Object.entries(values).map(([name, value]) => [`${name}_FILE`, file(`${value}\n`)]);
  const { warnings, session, provider, app, redis } = loadConfig({ ...rest, ...Object.fromEntries(twins) });
  const loaded = [...session.secrets, ...provider.clientSecrets, ...app.provider!.clientSecrets, redis!.url!];
  expect(loaded.map((each) => each.reveal())).toEqual(Object.values(values));
  expect(warnings).toEqual([]);
});

test.each(variables)('if the value of %s is treated as a secret, it can be in a file', (variable) => {
  const { type, isSecret }: Field = fields[variable];
  const results = ['redis://:pw@redis', secrets.SESSION_SECRET, '1'].map((each) => type.safeParse(each));
  const isTreatedAsSecret = results.some(({ data }) => [data].flat().some((each) => each instanceof Secret));
  expect(isSecret ?? false).toBe(isTreatedAsSecret);
});

test.each([
  ['one line break', `${secrets.SESSION_SECRET}\n`],
  ['none', secrets.SESSION_SECRET],
  ['that of Windows', `${secrets.SESSION_SECRET}\r\n`],
  ['several', `${secrets.SESSION_SECRET}\n\n`],
  ['a byte order mark', `\uFEFF${secrets.SESSION_SECRET}\n`],
])('a file with %s around the secret is read without it', (_what, content) => {
  const { session } = loadConfig({
    ...rest,
    OAUTH2_CLIENT_SECRET: 'x',
    OAUTH2_APP_CLIENT_SECRET: 'x',
    SESSION_SECRET_FILE: file(content),
  });
  expect(session.secrets.map((each) => each.reveal())).toEqual([secrets.SESSION_SECRET]);
});

test('a secret and its file are not both accepted, even if they are equal; an empty variable counts as unset', () => {
  const env = { ...rest, ...secrets, OAUTH2_APP_CLIENT_SECRET: 'x' };
  const SESSION_SECRET_FILE = file(secrets.SESSION_SECRET);
  expect(messageOf({ ...env, SESSION_SECRET_FILE })).toMatch(
    /\(1 problem\):\n {2}SESSION_SECRET_FILE and SESSION_SECRET are both set: remove one of them\. Example: SESSION_SECRET_FILE=\/run\/secrets\/session_secret$/,
  );
  expect(messageOf({ ...env, SESSION_SECRET: ' ', SESSION_SECRET_FILE })).toBe('valid');
  expect(messageOf({ ...env, SESSION_SECRET_FILE: '' })).toBe('valid');
});

const hidden = 'QmFzZTY0U2VjcmV0VGhhdE11c3ROb3RCZVByaW50ZWQ=';
const notShown = /names a file \(not shown.*\), which cannot be read \(ENOENT\)/;
test.each([
  ['does not exist', () => join(folder, 'missing'), /names \S+\/missing, which cannot be read \(ENOENT\)/],
  ['is a folder', () => folder, /must name a regular file/],
  ['never ends', () => '/dev/zero', /must name a regular file, but \/dev\/zero is none/],
  ['is large', () => file('x'.repeat(70_000)), /too large for a secret/],
  ['is empty', () => file('\n'), /names \S+, which is empty/],
  ['has two lines', () => file('one-secret\nanother-secret\n'), /must contain the secret alone, on one line/],
  ['is UTF-16', () => file(Buffer.from('\uFEFFhush', 'utf16le')), /is not UTF-8 text/],
  ['is the secret itself', () => hidden, notShown],
  ['is a URL with a password', () => `redis://:${hidden}@redis.example.com:6379/0`, notShown],
  ['is a secret with dots', () => `abC8Q~.${hidden}`, notShown],
  ['is a secret that begins with a slash', () => `/${hidden}`, notShown],
  ['is a secret with two slashes', () => `/+x/${hidden}`, notShown],
])(
  'a file that %s is reported once, by the name of its variable and without its content',
  (_what, path, problem) => {
    const message = messageOf({
      ...rest,
      SESSION_SECRET: secrets.SESSION_SECRET,
      OAUTH2_APP_CLIENT_SECRET: 'x',
      OAUTH2_CLIENT_SECRET_FILE: path(),
    });
    expect(message).toMatch(/^Invalid configuration \(1 problem\):\n {2}OAUTH2_CLIENT_SECRET_FILE /);
    expect(message).toMatch(problem);
    expect(message).not.toMatch(/one-secret|another-secret|QmFz/);
  },
);

test('a value in a file is checked as one in a variable, and the problem names the file variable', () => {
  expect(
    messageOf({
      ...rest,
      OAUTH2_APP_CLIENT_SECRET: 'x',
      OAUTH2_CLIENT_SECRET: 'x',
      SESSION_SECRET_FILE: file('too-short'),
    }),
  ).toContain('SESSION_SECRET (in the file that SESSION_SECRET_FILE names) must be at least 32 characters');
});

test('all problems of files and variables are reported at once', () => {
  const message = messageOf({
    ...rest,
    SESSION_SECRET_FILE: '/tmp/nowhere',
    OAUTH2_CLIENT_SECRET_FILE: './nowhere',
    PORT: 'x',
  });
  for (const name of [
    'SESSION_SECRET_FILE names /tmp/nowhere',
    'OAUTH2_CLIENT_SECRET_FILE names ./nowhere',
    'PORT must',
    'OAUTH2_APP_CLIENT_SECRET is required',
  ])
    expect(message).toContain(name);
});
