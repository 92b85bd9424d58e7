import { randomBytes } from 'node:crypto';
import { Redis } from 'ioredis';
import { defaultRouteTable } from '../../src/config/presets.ts';
import { Secret } from '../../src/crypto/secret.ts';
import { storeUnavailable } from '../../src/errors.ts';
import { createLogger } from '../../src/logger.ts';
import type { SavedForm, SavedForms } from '../../src/saved-forms/saved-forms.ts';
import { createMemorySavedForms } from '../../src/stores/memory/saved-forms.ts';
import { connectRedis, type RedisConnection } from '../../src/stores/redis/connection.ts';
import { createSessionKeys, defaultKeyPrefix, type SessionPart } from '../../src/stores/redis/keys.ts';
import { createRedisSavedForms } from '../../src/stores/redis/saved-forms.ts';
import { readRecord, readSession } from '../hostile/support/logged-in.ts';
import { type Recorder, startRecorder } from '../hostile/support/recorder.ts';
import { Browser, cookieNames, type Page } from '../support/browser.ts';
import { startCluster, type Topology, waitFor } from '../support/redis-topologies.ts';
import { writeRoutesFile } from '../support/routes-file.ts';
import { testRedisUrl } from '../support/test-redis.ts';
import { createWorld, finishSignIn, type World } from '../support/world.ts';

const week = 604_800;
const urlencoded = 'application/x-www-form-urlencoded';
const registration = 'registration-one';
const scopes = 'openid profile read:data write:data';
const maxBytes = 8 * 1024 * 1024;

describe.each(['memory', 'Redis', 'a Redis Cluster'] as const)('the saved-form store in %s', (kind) => {
  const secrets = [new Secret('the-first-secret-of-these-tests-0123')];
  let offsetMs = 0;
  const now = () => Date.now() + offsetMs;
  let redis: RedisConnection;
  let cluster: Topology | undefined;
  let forms: SavedForms;
  let id: string;
  beforeAll(async () => {
    cluster = kind === 'a Redis Cluster' ? await startCluster() : undefined;
    redis = cluster
      ? connectRedis({ url: new Secret(cluster.url) }, createLogger('silent'))
      : new Redis(testRedisUrl());
    await waitFor(() => redis.ping().then(Boolean, () => false));
  });
  afterAll(async () => {
    redis.disconnect();
    await cluster?.close();
  });
  beforeEach(() => {
    offsetMs = 0;
    id = randomBytes(32).toString('base64url');
    forms = createForms();
  });
  const createForms = (limit = maxBytes, owner = registration) =>
    kind === 'memory'
      ? createMemorySavedForms(now, limit)
      : createRedisSavedForms({ redis, secrets, registration: owner, now, maxBytes: limit });
  const form = (): SavedForm => ({
    sessionId: id,
    userTag: `user-of-${id}`,
    method: 'POST',
    url: '/api/data?a=1',
    contentType: urlencoded,
    body: Buffer.from([0, 255, 10, 97]),
    keptAt: now(),
  });

  test('peek returns the stored form unchanged, every time', async () => {
    const put = form();
    await forms.put(id, put);
    expect(await forms.peek(id)).toEqual(put);
    expect(await forms.peek(id)).toEqual(put);
    expect(await forms.peek('another')).toBeUndefined();
  });

  test('only one of ten concurrent take calls gets the form', async () => {
    await forms.put(id, form());
    const taken = await Promise.all(Array.from({ length: 10 }, () => forms.take(id)));
    expect(taken.filter(Boolean)).toHaveLength(1);
    expect(await forms.peek(id)).toBeUndefined();
  });

  const newId = () => randomBytes(32).toString('base64url');
  const tooMany = { code: 'too_many_requests' };

  test('a user can store at most twenty forms, whatever the session; other users are not affected', async () => {
    const { userTag } = form();
    const ids = Array.from({ length: 21 }, newId);
    for (const each of ids.slice(0, 20)) await forms.put(each, { ...form(), sessionId: newId(), userTag });
    await expect(forms.put(ids[20]!, { ...form(), userTag })).rejects.toMatchObject(tooMany);
    expect(await forms.peek(ids[20]!)).toBeUndefined();
    await forms.put(newId(), { ...form(), userTag: newId() });
    await forms.take(ids[0]!); // makes room
    await forms.put(ids[20]!, { ...form(), userTag });
    await forms.put(ids[20]!, { ...form(), userTag }); // replaces itself
    offsetMs = 1_800_001;
    await forms.put(ids[0]!, { ...form(), userTag }); // the others have expired
  });

  test("one user's forms take at most 1 MiB; other users can still save theirs", async () => {
    const body = Buffer.alloc(200_000);
    const { userTag } = form();
    const put = () => forms.put(newId(), { ...form(), userTag, body });
    const results = await Promise.allSettled(Array.from({ length: 10 }, put));
    const stored = results.filter(({ status }) => status === 'fulfilled').length;
    expect(stored).toBeGreaterThanOrEqual(3);
    expect(stored).toBeLessThanOrEqual(5);
    await expect(put()).rejects.toMatchObject(tooMany);
    await forms.put(newId(), { ...form(), userTag: newId(), body });
  });

  test('the forms of all users take at most SAVED_FORMS_MAX_BYTES, and those that were saved before stay', async () => {
    const limited = createForms(1_000_000, `registration-${id}`);
    const body = Buffer.alloc(50_000);
    await limited.put(id, { ...form(), body });
    const putFor = (userTag: string) => limited.put(newId(), { ...form(), userTag, body });
    const results = await Promise.allSettled(Array.from({ length: 40 }, () => putFor(newId())));
    const stored = results.filter(({ status }) => status === 'fulfilled').length;
    expect(stored).toBeGreaterThan(10);
    expect(stored).toBeLessThan(20);
    await expect(putFor('another')).rejects.toMatchObject({
      ...tooMany,
      cause: expect.objectContaining({ message: expect.stringContaining('SAVED_FORMS_MAX_BYTES') }),
    });
    expect((await limited.take(id))?.body).toEqual(body);
    await putFor('another');
  });

  test('with SAVED_FORMS_MAX_BYTES=0 no form is saved', async () => {
    await expect(createForms(0).put(id, form())).rejects.toMatchObject(tooMany);
    expect(await forms.peek(id)).toBeUndefined();
  });

  test('a form expires half an hour after it was saved, even if it is taken and put back', async () => {
    await forms.put(id, form());
    offsetMs = 1_700_000;
    const taken = (await forms.take(id))!;
    await forms.put(id, taken);
    expect(await forms.peek(id)).toBeDefined();
    offsetMs = 1_800_001;
    expect(await forms.peek(id)).toBeUndefined();
    expect(await forms.take(id)).toBeUndefined();
    await forms.put(id, taken);
    expect(await forms.peek(id)).toBeUndefined();
  });
});

test('a form in Redis is sealed for its own id, and its key expires after half an hour', async () => {
  const redis = new Redis(testRedisUrl());
  const secrets = [new Secret('the-first-secret-of-these-tests-0123')];
  const options = { redis, registration, now: Date.now, secrets, maxBytes };
  const forms = createRedisSavedForms(options);
  const [id, other] = [1, 2].map(() => randomBytes(32).toString('base64url'));
  const form = { method: 'POST', url: '/api/data', contentType: urlencoded, keptAt: Date.now() };
  await forms.put(id!, {
    ...form,
    sessionId: 'a-session',
    userTag: 'a-user',
    body: Buffer.from('a=my-secret-wish'),
  });
  const sealed = (await redis.getBuffer(`latchkey:saved-forms:{${registration}}:${id}`))!;
  for (const secret of ['my-secret-wish', Buffer.from('a=my-secret-wish').toString('base64'), 'a-session'])
    expect(sealed.includes(secret)).toBe(false);
  expect(await redis.pttl(`latchkey:saved-forms:{${registration}}:${id}`)).toBeGreaterThan(1_790_000);
  expect(await redis.pttl(`latchkey:saved-forms:{${registration}}:${id}`)).toBeLessThanOrEqual(1_800_000);

  await redis.set(`latchkey:saved-forms:{${registration}}:${other}`, sealed);
  const unavailable = { code: 'temporarily_unavailable' };
  await expect(forms.peek(other!)).rejects.toMatchObject(unavailable); // sealed for another id
  const otherSecret = createRedisSavedForms({
    ...options,
    secrets: [new Secret('another-secret-of-these-tests-01234')],
  });
  await expect(otherSecret.peek(id!)).rejects.toMatchObject(unavailable);
  await expect(otherSecret.take(id!)).rejects.toMatchObject(unavailable);
  expect((await forms.take(id!))?.url).toBe('/api/data'); // an instance with another secret has not removed it
  redis.disconnect();
});

const passwordRoute = {
  path: '/password',
  target: '/api/user/password',
  methods: { POST: {} },
  saveForms: false,
};

describe.each(['memory', 'redis'] as const)(
  'a form submitted after the session ended, with the %s store',
  (store) => {
    let world: World;
    let recorder: Recorder;
    let browser: Browser;
    beforeAll(async () => {
      recorder = await startRecorder();
      world = await createWorld({
        store,
        env: {
          OAUTH2_API_BASE_URL: recorder.url,
          OAUTH2_SCOPES: 'openid profile read:data write:data',
          API_ROUTES_FILE: writeRoutesFile([...defaultRouteTable.routes, passwordRoute]),
        },
      });
    });
    afterAll(async () => {
      await world.close();
      await recorder.close();
    });
    beforeEach(async () => {
      recorder.respondWith(undefined); // the profile page after sign-in calls the API, too
      browser = world.browser();
      await world.signIn(browser);
      recorder.requests.length = 0;
    });

    const send = (
      body = 'title=Paint+it+red&note=%3Cb%3E',
      type = urlencoded,
      sender = browser,
      path = '/api/data?list=2',
    ) =>
      sender.step(path, {
        method: 'POST',
        from: `${world.origin}/`,
        headers: { 'content-type': type },
        body,
      });
    const loginLink = (page: Page) =>
      /href="([^"]*\/auth\/login[^"]*)"/
        .exec(page.text)![1]!
        .replaceAll('&#38;', '&')
        .replaceAll('&amp;', '&');
    const resumePath = (page: Page) => new URL(loginLink(page)).searchParams.get('return_to')!;
    const sentBodies = () => Promise.all(recorder.requests.map(async (each) => (await each.body).text));
    const signInFrom = async (page: Page, user = 'alice') =>
      finishSignIn(browser, await browser.go(loginLink(page)), user);
    const forgetProviderSession = async () => {
      for (const cookie of await browser.jar.getCookies(world.origin))
        if (cookie.key.startsWith('_'))
          await browser.jar.store.removeCookie('localhost', cookie.path!, cookie.key);
    };
    const expectNotSaved = (page: Page) => {
      expect(page.status).toBe(401);
      expect(resumePath(page)).toBe('/profile'); // the default return page: there is no saved form
      expect(page.text).toContain('your browser may still have what you entered');
    };

    test('a form is saved, shown after sign-in, and submitted exactly once when the user confirms', async () => {
      await world.clock.advance(week);
      const signInPage = await send();
      expect(signInPage.status).toBe(401);
      expect(signInPage.text).toContain('saved your form for 30 minutes');
      expect(signInPage.headers['set-cookie']).toBeUndefined();
      expect(resumePath(signInPage)).toMatch(/^\/auth\/resume\/[\w-]{43}$/);

      const page = await signInFrom(signInPage);
      expect(page.url).toBe(world.origin + resumePath(signInPage));
      expect([page.status, page.headers['cache-control']]).toEqual([200, 'no-store']);
      expect(page.text).toContain('POST /api/data?list=2');
      expect(page.text).toMatch(/<dt>title<\/dt><dd[^>]*>Paint it red<\/dd>/);
      expect(page.text).toContain('&lt;b&gt;');
      expect(recorder.requests).toHaveLength(0); // showing the form sends nothing
      expect((await browser.step(resumePath(signInPage))).status).toBe(200);

      const sent = await browser.submit(page, {}, { action: '/auth/resume/' });
      expect([sent.status, sent.text]).toEqual([201, '{"recorded":true}']);
      const direct = await browser.fetch('/api/data'); // for its headers: those of an API response, not of a page
      const perConnection = ['date', 'x-request-id', 'connection', 'keep-alive'];
      const names = (headers: object) => Object.keys(headers).filter((each) => !perConnection.includes(each));
      expect(names(sent.headers).sort()).toEqual(names(direct.headers).sort());
      expect(sent.headers['content-security-policy']).toBe(direct.headers['content-security-policy']);
      recorder.requests.pop();
      const [arrived] = recorder.requests;
      expect([arrived!.method, arrived!.target]).toEqual(['POST', '/api/user/data?list=2']);
      expect(await sentBodies()).toEqual(['title=Paint+it+red&note=%3Cb%3E']);
      const valuesOf = (name: string) =>
        arrived!.headers.filter(([each]) => each === name).map(([, value]) => value);
      expect(valuesOf('content-type')).toEqual([urlencoded]);
      expect(valuesOf('content-length')).toEqual(['31']);
      const { id } = await readSession(browser);
      expect(valuesOf('authorization')).toEqual([
        `Bearer ${(await readRecord(world, id))!.tokens.accessToken}`,
      ]);

      const repeated = await browser.submit(page, {}, { action: '/auth/resume/' });
      expect(repeated.status).toBe(404);
      expect(repeated.text).toContain('was already submitted');
      expect(recorder.requests).toHaveLength(1);
      const logged = world.latchkey.logLines.join('');
      for (const secret of ['Paint', 'title=']) expect(logged).not.toContain(secret);
    });

    test('two simultaneous confirmations submit the form once', async () => {
      await world.clock.advance(week);
      const page = await signInFrom(await send());
      const responses = await Promise.all(
        [1, 2].map(() => browser.submit(page, {}, { action: '/auth/resume/' })),
      );
      expect(responses.map(({ status }) => status).sort()).toEqual([201, 404]);
      expect(recorder.requests).toHaveLength(1);
    });

    test('a form is also saved when the provider has revoked the refresh token', async () => {
      const { id } = await readSession(browser);
      const { refreshToken } = (await readRecord(world, id))!.tokens;
      await (await world.provider.provider.RefreshToken.find(refreshToken!))!.destroy();
      await world.clock.advance(301);
      const page = await signInFrom(await send('{"title":"as JSON"}', 'application/json; charset=utf-8'));
      expect(page.text).toContain('{\n  &#34;title&#34;: &#34;as JSON&#34;\n}');
      expect((await browser.submit(page, {}, { action: '/auth/resume/' })).status).toBe(201);
      expect(await sentBodies()).toEqual(['{"title":"as JSON"}']);
    });

    test.each([
      ['small', 'title=Paint+it+red&note=%3Cb%3E'],
      ['large', `title=${'x'.repeat(200_000)}`],
    ])(
      'a %s form is also saved when the API rejects the access token and the refresh fails',
      async (_size, body) => {
        const { id } = await readSession(browser);
        const { refreshToken } = (await readRecord(world, id))!.tokens;
        await (await world.provider.provider.RefreshToken.find(refreshToken!))!.destroy();
        recorder.respondWith((req, res) => {
          req.resume();
          res.writeHead(401).end();
        });
        const signInPage = await send(body);
        expect(signInPage.status).toBe(401);
        expect(recorder.requests).toHaveLength(1); // the request that the API rejected
        recorder.respondWith(undefined);
        const page = await signInFrom(signInPage);
        expect((await browser.submit(page, {}, { action: '/auth/resume/' })).status).toBe(201);
        expect((await recorder.requests.at(-1)!.body).bytes).toBe(body.length);
      },
    );

    test('another user gets the same 404 as for a form that does not exist', async () => {
      await world.clock.advance(week);
      const signInPage = await send();
      await forgetProviderSession();
      const asBob = await signInFrom(signInPage, 'bob');
      const unknown = await browser.step(`/auth/resume/${'A'.repeat(43)}`);
      expect([asBob.status, unknown.status]).toEqual([404, 404]);
      expect(asBob.text).toContain('There is no saved form here');
      const again = await browser.step(resumePath(signInPage)); // the first page after a login has a message
      expect(again.text).toBe(unknown.text);
      const post = (path: string) => browser.step(path, { method: 'POST', from: world.origin });
      expect((await post(resumePath(signInPage))).status).toBe(404);
      expect((await post(`${resumePath(signInPage)}/discard`)).status).toBe(404);
      expect(recorder.requests).toHaveLength(0);

      await forgetProviderSession();
      const asAlice = await signInFrom(signInPage); // her form is still saved
      expect((await browser.submit(asAlice, {}, { action: '/auth/resume/' })).status).toBe(201);
    });

    test('the user can discard a saved form', async () => {
      await world.clock.advance(week);
      const page = await signInFrom(await send());
      const home = await browser.submit(page, {}, { action: '/discard' });
      expect(home.url).toBe(`${world.origin}/`);
      expect((await browser.step(page.url)).status).toBe(404);
      expect(recorder.requests).toHaveLength(0);
    });

    test('a saved form expires after half an hour', async () => {
      await world.clock.advance(week);
      const page = await signInFrom(await send());
      await world.clock.advance(1_801);
      expect((await browser.submit(page, {}, { action: '/auth/resume/' })).status).toBe(404);
      expect(recorder.requests).toHaveLength(0);
    });

    test('without a session, a request for a saved form leads to sign in and back', async () => {
      await world.clock.advance(week);
      const path = resumePath(await send());
      for (const method of ['GET', 'POST']) {
        const response = await browser.step(path, { method, from: world.origin });
        expect(response.status).toBe(303);
        expect(response.headers.location).toBe(
          `${world.origin}/auth/login?return_to=${encodeURIComponent(path)}`,
        );
      }
    });

    test('a cross-site request cannot submit a saved form', async () => {
      await world.clock.advance(week);
      const page = await signInFrom(await send());
      const forged = await browser.step(page.url, { method: 'POST', from: 'https://evil.example/' });
      expect(forged.status).toBe(403);
      expect(recorder.requests).toHaveLength(0);
      expect((await browser.step(page.url)).status).toBe(200);
    });

    test('a form posted from another site is not saved', async () => {
      await world.clock.advance(week);
      const response = await browser.step('/api/data', {
        method: 'POST',
        from: 'https://evil.example/',
        headers: { 'content-type': urlencoded },
        body: 'title=evil',
      });
      expect([response.status, response.text.includes('/auth/resume/')]).toEqual([403, false]);
    });

    test.each([
      ['a form of 256 KB is saved', 262_144 - 2, true],
      ['a form of 256 KB and one byte is not saved', 262_144 - 1, false],
    ])('%s', async (_what, length, isSaved) => {
      await world.clock.advance(week);
      const signInPage = await send(`a=${'x'.repeat(length)}`);
      if (!isSaved) return expectNotSaved(signInPage);
      const page = await signInFrom(signInPage);
      expect(page.text.length).toBeLessThan(8_000); // the page shows only the beginning
      expect((await browser.submit(page, {}, { action: '/auth/resume/' })).status).toBe(201);
      expect((await recorder.requests[0]!.body).bytes).toBe(262_144);
    });

    test.each([
      ['a file upload', 'multipart/form-data; boundary=x'],
      ['plain text', 'text/plain'],
      ['no content type', ''],
    ])('a submission with %s is not saved', async (_what, type) => {
      recorder.respondWith((req, res) => {
        req.resume();
        res.writeHead(401).end();
      });
      const { id } = await readSession(browser);
      const { refreshToken } = (await readRecord(world, id))!.tokens;
      await (await world.provider.provider.RefreshToken.find(refreshToken!))!.destroy();
      expectNotSaved(await send('--x--', type)); // after Latchkey read the body: the API rejects the token
      expectNotSaved(await send('--x--', type)); // before Latchkey reads the body: the session has ended
      expect(recorder.requests).toHaveLength(1);
    });

    test('a form of a route with "saveForms": false is not saved', async () => {
      await world.clock.advance(week);
      expectNotSaved(await send('new=1', urlencoded, browser, '/api/password'));
    });

    test('a request by a script is not saved, because the script still has the data', async () => {
      await world.clock.advance(week);
      const response = await browser.fetch('/api/data', {
        method: 'POST',
        headers: { 'content-type': urlencoded },
        body: 'a=1',
      });
      expect(response.status).toBe(401);
      expect(response.text).not.toContain('resume');
    });

    test('a form is not saved after sign-out, without a session, or with a forged session cookie', async () => {
      const { value } = await readSession(browser);
      await browser.fetch('/auth/logout', { method: 'POST' });
      expectNotSaved(await send());
      const otherBrowser = world.browser();
      expectNotSaved(await send('a=1', urlencoded, otherBrowser));
      await otherBrowser.jar.setCookie(
        `${cookieNames(world.origin).session}=${value.replace(/.(?=\.)/, (each) => (each === 'A' ? 'B' : 'A'))}`,
        world.origin,
      );
      expectNotSaved(await send('a=1', urlencoded, otherBrowser));
    });

    test.each([
      ['the user signed out', () => browser.fetch('/auth/logout', { method: 'POST' })],
      ['the user signed in again', () => world.signIn(browser)],
      [
        'the session began more than SESSION_ABSOLUTE_SECONDS and an hour ago',
        () => world.clock.advance(week + 3_602),
      ],
    ])('a form sent with an old session cookie is not saved after %s', async (_what, end) => {
      const { cookie } = await readSession(browser);
      await end();
      const finder = world.browser(); // whoever found the cookie
      await finder.jar.setCookie(cookie, world.origin);
      expectNotSaved(await send('amount=1000000&to=mallory', urlencoded, finder));
    });

    test('the forms of one account have one limit, however often it signs in', async () => {
      const pages: Page[] = [];
      const body = `a=${'x'.repeat(200_000)}`;
      const browsers = Array.from({ length: 4 }, () => world.browser());
      for (const each of browsers) await world.signIn(each);
      await world.clock.advance(week);
      for (const each of browsers) {
        for (let forms = 0; forms < 3; forms += 1) pages.push(await send(body, urlencoded, each));
      }
      expect(pages.filter(({ text }) => text.includes('saved your form')).length).toBeLessThanOrEqual(5);
      expectNotSaved(pages.at(-1)!);
      expect(world.latchkey.logLines.join('')).toContain('bytesOfUser');
      await world.clock.advance(1_801); // they expire before the next test
    });

    test('a form is saved with the headers of an ordinary response, without RateLimit', async () => {
      await world.clock.advance(week);
      expect(Object.keys((await send()).headers).filter((each) => /ratelimit/i.test(each))).toEqual([]);
    });

    test('a saved form can be submitted again when Latchkey failed before calling the API', async () => {
      await world.clock.advance(week);
      const page = await signInFrom(await send());
      const { id } = await readSession(browser);
      const { tokenStore } = world.latchkey.deps;
      const { get } = tokenStore;
      let reads = 0;
      Object.assign(tokenStore, {
        get: (...args: Parameters<typeof get>) =>
          ++reads < 3 ? get(...args) : Promise.reject(storeUnavailable(new Error('Redis is unreachable'))),
      });
      const failed = await browser.submit(page, {}, { action: '/auth/resume/' });
      Object.assign(tokenStore, { get });
      expect([failed.status, reads]).toEqual([503, 3]);
      expect(failed.text).toContain('saved your form');
      expect(failed.text).toContain(`href="${new URL(page.url).pathname}"`);

      const record = (await readRecord(world, id))!; // now without the required scope
      await tokenStore.update(id, async (newest) => ({
        ...newest,
        tokens: { ...newest.tokens, scope: ['openid'] },
      }));
      const forbidden = await browser.submit(page, {}, { action: '/auth/resume/' });
      expect(forbidden.status).toBe(403);
      expect(resumePath(forbidden)).toBe(new URL(page.url).pathname);
      await tokenStore.update(id, async () => record);
      expect(recorder.requests).toHaveLength(0);
      expect((await browser.submit(page, {}, { action: '/auth/resume/' })).status).toBe(201);
    });

    test('a saved form cannot be submitted again when the API may have received it', async () => {
      await world.clock.advance(week);
      const page = await signInFrom(await send());
      recorder.respondWith((req) => req.socket.destroy());
      const failed = await browser.submit(page, {}, { action: '/auth/resume/' });
      expect([failed.status, failed.text.includes('/auth/resume/')]).toEqual([502, false]);
      expect((await browser.step(page.url)).status).toBe(404);
    });

    test('a form is not saved while the token store is unavailable', async () => {
      const { tokenStore } = world.latchkey.deps;
      const { get } = tokenStore;
      Object.assign(tokenStore, {
        get: () => Promise.reject(storeUnavailable(new Error('Redis is unreachable'))),
      });
      const response = await send();
      Object.assign(tokenStore, { get });
      expect(response.status).toBe(503);
      expect(response.text).toContain('your browser may still have what you entered');
      expect((await send()).status).toBe(201);
    });

    test('a form is not saved while the saved-form store is unavailable', async () => {
      await world.clock.advance(week);
      const { savedForms } = world.latchkey.deps;
      const { put } = savedForms;
      Object.assign(savedForms, {
        put: () => Promise.reject(storeUnavailable(new Error('Redis is unreachable'))),
      });
      expectNotSaved(await send());
      Object.assign(savedForms, { put });
    });
  },
);

test('a form is not saved when the provider gave no sub, because its owner could not be verified', async () => {
  const world = await createWorld({ store: 'memory', env: { OAUTH2_SCOPES: 'read:data write:data' } });
  const browser = world.browser();
  await world.signIn(browser);
  await world.clock.advance(week);
  const headers = { 'content-type': urlencoded };
  const signInPage = await browser.step('/api/data', {
    method: 'POST',
    from: world.origin,
    headers,
    body: 'a=1',
  });
  expect(signInPage.status).toBe(401);
  expect(signInPage.text).not.toContain('resume');
  expect(signInPage.text).toContain('your browser may still have what you entered');
  await world.close();
});

test('a form saved by one instance can be shown and submitted by another', async () => {
  const recorder = await startRecorder();
  const world = await createWorld({
    env: { OAUTH2_API_BASE_URL: recorder.url, OAUTH2_SCOPES: 'openid read:data write:data' },
  });
  const browser = world.browser();
  await world.signIn(browser);
  const { id } = await readSession(browser);
  await world.latchkey.deps.tokenStore.take(id, { kind: 'signed_out' });
  const signInPage = await browser.step('/api/data', {
    method: 'POST',
    from: world.origin,
    headers: { 'content-type': urlencoded },
    body: 'a=1',
  });
  const path = /%2Fresume%2F([\w-]{43})/.exec(signInPage.text)![1]!;
  await world.signIn(browser, 'alice', '/auth/login?return_to=/');
  const second = await world.startAnotherInstance();
  const browserOfSecond = new Browser(second.origin, browser.jar); // cookies ignore the port
  const page = await browserOfSecond.step(`/auth/resume/${path}`);
  expect(page.status).toBe(200);
  const sent = await browserOfSecond.step(`/auth/resume/${path}`, { method: 'POST', from: second.origin });
  expect(sent.status).toBe(201);
  expect((await browser.step(`/auth/resume/${path}`)).status).toBe(404);
  expect(recorder.requests.filter(({ method }) => method === 'POST')).toHaveLength(1);
  await world.close();
  await recorder.close();
});

test('in Redis, the data of a session outlives its record by an hour; without it, no form is saved', async () => {
  const recorder = await startRecorder();
  const world = await createWorld({
    store: 'redis',
    env: { OAUTH2_API_BASE_URL: recorder.url, OAUTH2_SCOPES: scopes },
  });
  const browser = world.browser();
  await world.signIn(browser);
  const { id } = await readSession(browser);
  const redis = new Redis(testRedisUrl());
  const { registration, idleSeconds } = world.latchkey.config.session;
  const keyOf = (part: SessionPart) => createSessionKeys(defaultKeyPrefix, registration)(id, part);
  const expectOneHourMore = async () => {
    const [recordMs, dataMs] = [await redis.pttl(keyOf('tokens')), await redis.pttl(keyOf('data'))];
    expect(recordMs).toBeLessThanOrEqual(idleSeconds * 1000);
    expect(Math.abs(dataMs - recordMs - 3_600_000)).toBeLessThan(5_000);
  };
  await expectOneHourMore();
  await world.clock.advance(120);
  await browser.fetch('/api/data'); // counts as use of the session
  await expectOneHourMore();

  await redis.del(keyOf('tokens'));
  await world.clock.advance(1); // nobody announces that a record has expired
  const send = () =>
    browser.step('/api/data', {
      method: 'POST',
      from: world.origin,
      headers: { 'content-type': urlencoded },
      body: 'a=1',
    });
  expect((await send()).text).toContain('saved your form');
  await redis.del(keyOf('data'));
  expect((await send()).text).not.toContain('saved your form');
  redis.disconnect();
  await world.close();
  await recorder.close();
});

test('requests for saved forms, and forms to save, are limited per minute', async () => {
  const world = await createWorld({ store: 'memory', env: { OAUTH2_SCOPES: scopes } });
  const browser = world.browser();
  await world.signIn(browser);
  const path = `/auth/resume/${'A'.repeat(43)}`;
  const statuses = new Set<number>();
  for (let n = 0; n < 121; n += 1) statuses.add((await browser.step(path)).status);
  expect([...statuses]).toEqual([404, 429]);

  await world.clock.advance(week);
  let saved = 0;
  for (let n = 0; n < 121; n += 1) {
    const page = await browser.step('/api/data', {
      method: 'POST',
      from: world.origin,
      headers: { 'content-type': urlencoded },
      body: 'a=1',
    });
    saved += Number(page.text.includes('saved your form'));
  }
  expect(saved).toBe(20); // per user
  expect(world.latchkey.logLines.filter((line) => line.includes('formsOfUser')).length).toBe(100);
  await world.close();
});
