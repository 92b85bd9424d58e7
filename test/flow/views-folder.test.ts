import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import request from 'supertest';
import { openViewFolders } from '../../src/pages/view-folders.ts';
import { createWorld, type World } from '../support/world.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const builtIn = { views: join(root, 'views'), assets: join(root, 'public') };
const folders: string[] = [];
afterAll(() => {
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});

/** A folder with these files. */
function writeFolder(files: Readonly<Record<string, string>>): string {
  const folder = mkdtempSync(join(tmpdir(), 'latchkey-views-'));
  folders.push(folder);
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, name)), { recursive: true });
    writeFileSync(join(folder, name), text);
  }
  return folder;
}

function findProblems(files: Readonly<Record<string, string>>): string {
  try {
    openViewFolders(builtIn, writeFolder(files));
    return '';
  } catch (error) {
    return String(error);
  }
}

describe('the example', () => {
  let world: World;
  beforeAll(async () => {
    world = await createWorld({
      env: {
        VIEWS_DIR: join(root, 'examples/views'),
        APP_NAME: 'Field Notes',
        OAUTH2_SCOPES: 'openid profile',
      },
    });
  });
  afterAll(() => world.close());
  const get = (path: string, language = 'en') =>
    request(world.origin).get(path).set({ accept: 'text/html', 'accept-language': language });

  test('replaces the home page and adds a style sheet and texts; the other pages stay as they are', async () => {
    const home = await get('/');
    expect(home.text).toContain('Field Notes tells you what to sow, prune and water');
    expect(home.text).toContain('/auth/assets/garden.css');
    expect((await get('/', 'de')).text).toContain('Dicke Bohnen unter Glas säen');
    const inFrench = await get('/', 'fr'); // the folder has no French texts
    expect(inFrench.text).toContain('Sow broad beans under glass');
    expect(inFrench.text).toContain('<html lang="fr">');
    const signIn = await get('/auth/sign-in');
    expect(signIn.text).toContain('/auth/assets/garden.css');
    expect(signIn.text).toContain('Your password stays with');
    expect((await get('/auth/assets/garden.css')).text).toContain('--accent');
    expect((await get('/auth/assets/style.css')).status).toBe(200);
  });

  test('knows the user', async () => {
    const browser = world.browser();
    await world.signIn(browser);
    expect((await browser.go('/')).text).toContain('To your beds, Alice Liddell');
  });
});

test('a template that fails is replaced by the built-in one, also on error pages', async () => {
  const folder = writeFolder({
    'home.ejs': '<%- include("partials/top", { title: "x" }) %><%= nobody.name %>',
    'error.ejs': '<%= nobody.name %>',
    'signed-out.ejs': '<%- include("partials/none") %>',
  });
  const world = await createWorld({ env: { VIEWS_DIR: folder, NODE_ENV: 'test', LOG_LEVEL: 'error' } });
  try {
    const get = (path: string) => request(world.origin).get(path).set({ accept: 'text/html' });
    const home = await get('/');
    expect(home.status).toBe(200);
    expect(home.text).toContain('<h1>Latchkey</h1>');
    const missing = await get('/nothing');
    expect(missing.status).toBe(404);
    expect(missing.text).toContain('Page not found');
    expect((await get('/auth/signed-out')).text).toContain('signed out');
    // The templates are read each time outside production: a repaired one is used without a restart.
    writeFileSync(join(folder, 'home.ejs'), 'repaired');
    expect((await get('/')).text).toBe('repaired');
  } finally {
    await world.close();
  }
});

test('a template knows the user, the claims and the session', async () => {
  const folder = writeFolder({
    'home.ejs':
      '<%= JSON.stringify([locals.user, locals.claims, locals.session?.scopes, locals.pageUserTag]) %>',
    'logout.ejs': '<%= claims.name %> since <%= format.instant(session.signedInAt) %>',
  });
  const world = await createWorld({
    env: { VIEWS_DIR: folder, OAUTH2_SCOPES: 'openid profile', OAUTH2_SESSION_CLAIMS: 'sub name' },
  });
  try {
    const browser = world.browser();
    expect((await browser.go('/')).text).toBe('[null,null,null,null]');
    await world.signIn(browser);
    const { text } = await browser.go('/');
    expect(text).toContain('{&#34;sub&#34;:&#34;alice&#34;,&#34;name&#34;:&#34;Alice Liddell&#34;}');
    expect(text).toContain('[&#34;openid&#34;,&#34;profile&#34;]');
    expect((await browser.go('/auth/logout')).text).toMatch(/^Alice Liddell since .*\d{4}/);
  } finally {
    await world.close();
  }
});

test('partials of the folder are used by built-in templates, and built-in partials by those of the folder', async () => {
  const folder = writeFolder({
    'partials/bottom.ejs': '<%- include("imprint") %></main></body></html>',
    'partials/imprint.ejs': '<p>Imprint of <%= appName %></p>',
    '.DS_Store': '\u0000',
    '..data/home.ejs': 'as Kubernetes mounts it',
    'notes.md': 'not a template',
  });
  const world = await createWorld({ env: { VIEWS_DIR: folder } });
  try {
    const { text } = await request(world.origin).get('/').set({ accept: 'text/html' });
    expect(text).toContain('<h1>Latchkey</h1>');
    expect(text).toContain('Imprint of Latchkey');
  } finally {
    await world.close();
  }
});

test('a language that only the folder has is complete: texts that it lacks are in English', () => {
  const { texts } = openViewFolders(
    builtIn,
    writeFolder({
      'texts/pt-BR.json': '{ "common": { "sign_in": "Entrar" }, "claims": { "shoe_size": "Sapato" } }',
    }),
  );
  expect(texts.get('pt-BR')!.get('common.sign_in')).toBe('Entrar');
  expect(texts.get('pt-BR')!.get('common.sign_out')).toBe('Sign out');
  expect(texts.get('pt-BR')!.get('claims.shoe_size')).toBe('Sapato');
  expect(texts.get('en')!.has('claims.shoe_size')).toBe(false);
});

test.each([
  [{ 'profil.ejs': '' }, /has profil\.ejs, but there is no template of that name .* profile\.ejs/],
  [{ 'home.ejs': '<% if (user) { %>' }, /has a template with an error: .*home\.ejs/s],
  [{ 'texts/en.json': '{ "home": ' }, /has texts\/en\.json, which cannot be read: .*JSON/],
  [{ 'texts/en.json': '{ "home": { "title": 5 } }' }, /home\.title must be a text/],
  [{ 'texts/english.json': '{}' }, /has texts\/english\.json, whose name is no language tag/],
  [{ 'texts/de_DE.json': '{}' }, /has texts\/de_DE\.json, whose name is no language tag/],
  [{ 'texts/en.json': '{ "home": { "titel": "x" } }' }, /the text home\.titel, which no page uses/],
  [
    { 'texts/en.json': '{ "home": { "hello": "Hi {nam}" } }' },
    /home\.hello uses \{nam\}; it can use \{name\} \{app\}/,
  ],
  [{ 'readme.md': 'x' }, /has neither templates/],
])('%j stops the start with a message that says what to change', (files, message) => {
  expect(findProblems(files as Readonly<Record<string, string>>)).toMatch(message);
});

test('a folder that does not exist stops the start', () => {
  expect(() => openViewFolders(builtIn, join(tmpdir(), 'latchkey-no-such-folder'))).toThrow(
    /VIEWS_DIR.*does not exist or cannot be read/s,
  );
});
