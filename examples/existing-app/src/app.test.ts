import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { after, test } from 'node:test';
import { createLatchkey } from 'latchkey';
import { startTestProvider } from 'latchkey/testing';
import { createApp } from './app.ts';

const origin = 'http://localhost:3000';
const { provider, signIn, close } = await startTestProvider({ redirectUri: `${origin}/auth/callback` });
const api = createServer((req, res) => {
  const user = provider.findToken(req.headers.authorization?.replace('Bearer ', '') ?? '');
  res.writeHead(user ? 200 : 401, { 'Content-Type': 'application/json' });
  res.end(JSON.stringify({ items: [{ title: `of ${user?.sub}` }, { title: '<b>two</b>' }] }));
}).listen(3002);
const latchkey = createLatchkey({
  settings: {
    ...provider.settings,
    OAUTH2_SCOPES: 'openid profile write:data',
    OAUTH2_API_BASE_URL: 'http://localhost:3002',
    LOG_LEVEL: 'silent',
    AUDIT_LOG: 'none',
  },
});
const server = createServer(createApp(latchkey, 'a secret of the test')).listen(3000);
after(async () => {
  server.close();
  api.close();
  await latchkey.close();
  await close();
});

test('a signed-in user sees their items, and others do not', async () => {
  const cookie = await signIn(server, { sub: 'alice' });
  const page = await fetch(`${origin}/items`, { headers: { cookie } });
  assert.match(await page.text(), /<li>of alice<\/li><li>&#60;b&#62;two/);
  assert.equal((await fetch(`${origin}/items`)).status, 401);
});

test('a user without the scope cannot add an item', async () => {
  const cookie = await signIn(server, { sub: 'bob', scope: 'openid' });
  const response = await fetch(`${origin}/items`, { method: 'POST', headers: { cookie }, body: '{}' });
  assert.equal(response.status, 403);
});
