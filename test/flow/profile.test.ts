import { writeRoutesFile } from '../support/routes-file.ts';
import { createWorld, type World } from '../support/world.ts';

let world: World;
beforeAll(async () => {
  world = await createWorld({
    env: {
      APP_NAME: 'Garden',
      OAUTH2_PROVIDER_NAME: 'Example ID',
      OAUTH2_SCOPES: 'openid profile email read:profile read:data',
      OAUTH2_ACCOUNT_URL: 'https://id.example.com/account?a=1&b=2',
      OAUTH2_SCOPE_LABELS: JSON.stringify({
        'read:profile': 'See <b>',
        'read:data': { en: 'See your list', de: 'Ihre Liste sehen' },
        'write:data': { en: 'Add to your list' },
      }),
      API_ROUTES_FILE: writeRoutesFile([
        { path: '/profile', target: '/api/user/profile', methods: { GET: {} } },
        { path: '/data', target: '/api/user/data', methods: { POST: { allOf: ['write:data'] } } },
        { path: '/orders', target: '/orders', methods: { GET: { anyOf: ['orders:read'] } } },
        { path: '/jobs', target: '/jobs', methods: { GET: { allOf: ['jobs:run'] } }, token: 'app' },
      ]),
    },
  });
});
afterAll(() => world.close());

/** The text of the page outside the technical details, without what only scripts show. */
const readWords = (html: string) =>
  html
    .slice(html.indexOf('<main'), html.indexOf('</main>'))
    .replace(/<(details|template|script)[\s\S]*?<\/\1>|<[^>]*>/g, ' ')
    .replace(/&#39;/g, "'")
    .replace(/\s+/g, ' ');

test('the profile page is about the user, in words that need no explanation', async () => {
  const browser = world.browser();
  const { text } = await world.signIn(browser);
  const words = readWords(text);
  expect(words).toContain(
    "What Garden may do Know who you are See your name and picture See your email address See &lt;b&gt; See your list Not allowed yet Add to your list Allow orders:read Allow Where you're signed in",
  );
  expect(words).toMatch(
    /Alice Liddell alice@example.test .*Member since .*Manage your account at Example ID/,
  );
  expect(text).toContain('href="https://id.example.com/account?a=1&amp;b=2"');
  expect(text).toMatch(
    /href="\/auth\/login\?scope=write%3Adata&amp;return_to=%2Fprofile" aria-label="Allow: Add to/,
  );
  expect(words.replace(/For developers|orders:read/g, '')).not.toMatch(
    /token|\bAPI\b|bearer|openid|scope|session|expire|read:|user id/i,
  );
  const german = await browser.step('/profile', { headers: { 'accept-language': 'de' } });
  expect(readWords(german.text)).toContain(
    'Wissen, wer Sie sind Ihren Namen und Ihr Bild sehen Ihre E-Mail-Adresse sehen See &lt;b&gt; Ihre Liste sehen Noch nicht erlaubt Add to your list',
  );
});

test('the technical details have the user id, the token and its scopes', async () => {
  const browser = world.browser();
  const { text } = await world.signIn(browser);
  const details = /<details class="card technical">[\s\S]*?<\/details>/.exec(text)![0];
  for (const each of [
    '<code>alice</code>',
    'bearer',
    'Access expires',
    '<code>read:data</code>',
    'Renew access',
  ])
    expect(details).toContain(each);
});

test('a permission can be granted from the profile page, and leads back to it', async () => {
  const browser = world.browser();
  const { text } = await world.signIn(browser, 'bob');
  const href = /href="(\/auth\/login\?scope=write[^"]*)"/.exec(text)![1]!.replaceAll('&amp;', '&');
  const after = await world.signIn(browser, 'bob', href);
  expect(after.url).toBe(`${world.origin}/profile`);
  expect(readWords(after.text)).toContain('See your list Add to your list Not allowed yet orders:read');
});
