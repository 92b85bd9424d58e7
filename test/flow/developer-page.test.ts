import { writeRoutesFile } from '../support/routes-file.ts';

import { testRedisUrl } from '../support/test-redis.ts';
import { createWorld, type World } from '../support/world.ts';

const routes = [
  { path: '/mine', target: '/mine', methods: { GET: { example: { query: 'from=<2019>' } } } },
  {
    path: '/things/:id',
    target: '/things/:id',
    methods: { PUT: { example: { parameters: { id: 'a"b' }, form: { title: '<script>' } } } },
    token: 'app',
  },
  { path: '/live', target: '/live', methods: { GET: {} }, stream: true },
  { path: '/*all', target: '/*all', methods: { PATCH: {} }, stream: true, webSocket: false },
];

describe('with the page for developers', () => {
  let world: World;
  beforeAll(async () => {
    world = await createWorld({
      env: { API_ROUTES_FILE: writeRoutesFile(routes) },
    });
  });
  afterAll(() => world.close());

  test('every row has its example request and says whose token it sends', async () => {
    const browser = world.browser();
    await world.signIn(browser);
    const profile = await browser.go('/profile');
    expect(profile.text).toContain('href="/auth/developer"');
    expect(profile.text).not.toContain('action="/auth/console');
    const { status, text } = await browser.go('/auth/developer');
    expect(status).toBe(200);
    expect(text).toContain('value="from=&lt;2019&gt;"');
    expect(text).toContain('value="a&#34;b"');
    expect(text).toMatch(/value="form" checked[\s\S]*>title=&lt;script&gt;<\/textarea>/);
    expect(text.match(/Sent with the app&#39;s token, not yours/g)).toHaveLength(1);
    expect(text).toContain('DEVELOPER_PAGE=false');
    expect(text).not.toContain('/api/live');
    expect(text).toContain('value="PATCH /*all"');
  });

  test('a user who is not signed in is led to the provider and back', async () => {
    const { headers } = await world.browser().step('/auth/developer?a=1');
    expect(headers.location).toBe(`${world.origin}/auth/login?return_to=%2Fauth%2Fdeveloper%3Fa%3D1`);
    const back = await world.signIn(world.browser(), 'alice', '/auth/login?return_to=/auth/developer');
    expect([back.status, back.url]).toEqual([200, `${world.origin}/auth/developer`]);
  });

  test('without JavaScript, a refresh from this page leads back to it', async () => {
    const browser = world.browser();
    await world.signIn(browser);
    const page = await browser.go('/auth/developer');
    const action = /action="([^"]*\/auth\/refresh[^"]*)"/.exec(page.text)![1]!;
    const after = await browser.go(action, {
      method: 'POST',
      from: page.url,
      headers: { referer: page.url },
    });
    expect(after.url).toBe(`${world.origin}/auth/developer`);
    expect(after.text).toContain('Your access was renewed. Nothing else has changed.</p>');
  });
});

test.each([
  ['DEVELOPER_PAGE is false', { DEVELOPER_PAGE: 'false' }],
  ['NODE_ENV is production', { NODE_ENV: 'production', REDIS_URL: testRedisUrl() }],
])('if %s, the page for developers and its console are like any unknown address', async (_when, env) => {
  const world = await createWorld({ env });
  try {
    const browser = world.browser();
    const { text } = await world.signIn(browser);
    expect(text).toContain('Alice Liddell');
    expect(text).not.toMatch(/developer|console/i);
    const post = { method: 'POST', headers: { 'content-type': 'application/x-www-form-urlencoded' } };
    const comparable = async (path: string, options = {}) => {
      const { status, text: page, headers } = await browser.step(path, options);
      return { status, allow: headers.allow, page: page.replace(/<code>.*?<\/code>/g, '') };
    };
    const unknown = await comparable('/auth/nothing', post);
    expect(unknown.status).toBe(404);
    for (const path of ['/auth/developer', '/auth/console']) {
      expect(await comparable(path)).toEqual(unknown);
      expect(await comparable(path, { ...post, body: 'row=GET+/profile' })).toEqual(unknown);
    }
  } finally {
    await world.close();
  }
});
