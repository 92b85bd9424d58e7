import { randomBytes } from 'node:crypto';
import { Redis } from 'ioredis';
import { Secret } from '../../src/crypto/secret.ts';
import { storeUnavailable } from '../../src/errors.ts';
import type { SavedForm, SavedForms } from '../../src/saved-forms/saved-forms.ts';
import { createMemorySavedForms } from '../../src/stores/memory/saved-forms.ts';
import { createRedisSavedForms } from '../../src/stores/redis/saved-forms.ts';
import { readRecord, readSession } from '../hostile/support/logged-in.ts';
import { type Recorder, startRecorder } from '../hostile/support/recorder.ts';
import { Browser, type Page } from '../support/browser.ts';
import { createWorld, finishSignIn, type World } from '../support/world.ts';

const week = 604_800;
const urlencoded = 'application/x-www-form-urlencoded';

describe.each(['memory', 'Redis'] as const)('the store of kept forms in %s', (kind) => {
  const secrets = [new Secret('the-first-secret-of-these-tests-0123')];
  let offsetMs = 0;
  const now = () => Date.now() + offsetMs;
  let redis: Redis;
  let forms: SavedForms;
  let id: string;
  beforeAll(() => {
    redis = new Redis(process.env.TEST_REDIS_URL!);
  });
  afterAll(() => redis.quit());
  beforeEach(() => {
    offsetMs = 0;
    id = randomBytes(32).toString('base64url');
    forms = kind === 'memory' ? createMemorySavedForms(now) : createRedisSavedForms({ redis, secrets, now });
  });
  const form = (): SavedForm => ({
    sessionId: id,
    method: 'POST',
    url: '/api/data?a=1',
    contentType: urlencoded,
    body: Buffer.from([0, 255, 10, 97]),
    keptAt: now(),
  });

  test('gives back what was put, byte for byte, as often as one looks', async () => {
    const put = form();
    await forms.put(id, put);
    expect(await forms.peek(id)).toEqual(put);
    expect(await forms.peek(id)).toEqual(put);
    expect(await forms.peek('another')).toBeUndefined();
  });

  test('gives a form to one taker only, however many there are', async () => {
    await forms.put(id, form());
    const taken = await Promise.all(Array.from({ length: 10 }, () => forms.take(id)));
    expect(taken.filter(Boolean)).toHaveLength(1);
    expect(await forms.peek(id)).toBeUndefined();
  });

  test('takes twenty of one session, however eager, and those of others', async () => {
    const eager = { ...form(), sessionId: randomBytes(32).toString('base64url') };
    for (let count = 0; count < 20; count += 1) await forms.put(`${eager.sessionId}${count}`, eager);
    await expect(forms.put(`${eager.sessionId}20`, eager)).rejects.toMatchObject({
      code: 'too_many_requests',
    });
    expect(await forms.peek(`${eager.sessionId}20`)).toBeUndefined();
    const other = { ...eager, sessionId: `${eager.sessionId}x` };
    await forms.put(`${other.sessionId}0`, other);
    expect(await forms.peek(`${other.sessionId}0`)).toBeDefined();
  });

  test('forgets a form after half an hour, also one that was put back', async () => {
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

test('in Redis a form is sealed, under its own id, and goes by itself', async () => {
  const redis = new Redis(process.env.TEST_REDIS_URL!);
  const options = { redis, now: Date.now, secrets: [new Secret('the-first-secret-of-these-tests-0123')] };
  const forms = createRedisSavedForms(options);
  const [id, other] = [1, 2].map(() => randomBytes(32).toString('base64url'));
  const form = { method: 'POST', url: '/api/data', contentType: urlencoded, keptAt: Date.now() };
  await forms.put(id!, { ...form, sessionId: 'a-session', body: Buffer.from('a=my-secret-wish') });
  const sealed = (await redis.getBuffer(`latchkey:kept-form:${id}`))!;
  for (const secret of ['my-secret-wish', Buffer.from('a=my-secret-wish').toString('base64'), 'a-session'])
    expect(sealed.includes(secret)).toBe(false);
  expect(await redis.pttl(`latchkey:kept-form:${id}`)).toBeGreaterThan(1_790_000);
  expect(await redis.pttl(`latchkey:kept-form:${id}`)).toBeLessThanOrEqual(1_800_000);

  await redis.set(`latchkey:kept-form:${other}`, sealed);
  expect(await forms.peek(other!)).toBeUndefined(); // sealed for another id
  const stranger = createRedisSavedForms({
    ...options,
    secrets: [new Secret('another-secret-of-these-tests-01234')],
  });
  expect(await stranger.peek(id!)).toBeUndefined();
  redis.disconnect();
});

describe.each(['memory', 'redis'] as const)(
  'a form sent after the session ended, with the %s store',
  (store) => {
    let world: World;
    let recorder: Recorder;
    let browser: Browser;
    beforeAll(async () => {
      recorder = await startRecorder();
      world = await createWorld({
        store,
        env: { OAUTH2_API_BASE_URL: recorder.url, OAUTH2_SCOPES: 'openid profile read:data write:data' },
      });
    });
    afterAll(async () => {
      await world.close();
      await recorder.close();
    });
    beforeEach(async () => {
      recorder.respondWith(undefined); // also for the profile page, at which a login arrives
      browser = world.browser();
      await world.signIn(browser);
      recorder.requests.length = 0;
    });

    const send = (body = 'title=Paint+it+red&note=%3Cb%3E', type = urlencoded, by = browser) =>
      by.step('/api/data?list=2', {
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
    const wasSent = () => Promise.all(recorder.requests.map(async (each) => (await each.body).text));
    const signInFrom = async (page: Page, person = 'alice') =>
      finishSignIn(browser, await browser.go(loginLink(page)), person);
    const leaveProvider = async () => {
      for (const cookie of await browser.jar.getCookies(world.origin))
        if (cookie.key.startsWith('_'))
          await browser.jar.store.removeCookie('localhost', cookie.path!, cookie.key);
    };
    const expectNothingKept = (page: Page) => {
      expect(page.status).toBe(401);
      expect(resumePath(page)).toBe('/profile'); // where a login without a page of its own leads
      expect(page.text).toContain('your browser still has it');
    };

    test('waits, is shown after the login, and is sent once when the person says so', async () => {
      world.clock.advance(week);
      const refused = await send();
      expect(refused.status).toBe(401);
      expect(refused.text).toContain('What you entered is kept for half an hour');
      expect(refused.headers['set-cookie']).toBeUndefined();
      expect(resumePath(refused)).toMatch(/^\/resume\/[\w-]{43}$/);

      const page = await signInFrom(refused);
      expect(page.url).toBe(world.origin + resumePath(refused));
      expect([page.status, page.headers['cache-control']]).toEqual([200, 'no-store']);
      expect(page.text).toContain('POST /api/data?list=2');
      expect(page.text).toMatch(/<dt>title<\/dt><dd[^>]*>Paint it red<\/dd>/);
      expect(page.text).toContain('&lt;b&gt;');
      expect(recorder.requests).toHaveLength(0); // looking sends nothing
      expect((await browser.step(resumePath(refused))).status).toBe(200);

      const sent = await browser.submit(page, {}, { action: '/resume/' });
      expect([sent.status, sent.text]).toEqual([201, '{"recorded":true}']);
      const straight = await browser.fetch('/api/data'); // what the API says is data here as well, and no page
      const forMe = ['date', 'x-request-id', 'connection', 'keep-alive'];
      const names = (headers: object) => Object.keys(headers).filter((each) => !forMe.includes(each));
      expect(names(sent.headers).sort()).toEqual(names(straight.headers).sort());
      expect(sent.headers['content-security-policy']).toBe(straight.headers['content-security-policy']);
      recorder.requests.pop();
      const [arrived] = recorder.requests;
      expect([arrived!.method, arrived!.target]).toEqual(['POST', '/api/user/data?list=2']);
      expect(await wasSent()).toEqual(['title=Paint+it+red&note=%3Cb%3E']);
      const named = (name: string) =>
        arrived!.headers.filter(([each]) => each === name).map(([, value]) => value);
      expect(named('content-type')).toEqual([urlencoded]);
      expect(named('content-length')).toEqual(['31']);
      const { id } = await readSession(browser);
      expect(named('authorization')).toEqual([`Bearer ${(await readRecord(world, id))!.tokens.accessToken}`]);

      const twice = await browser.submit(page, {}, { action: '/resume/' });
      expect(twice.status).toBe(404);
      expect(twice.text).toContain('was sent already');
      expect(recorder.requests).toHaveLength(1);
      const logged = world.latchkey.logLines.join('');
      for (const secret of ['Paint', 'title=']) expect(logged).not.toContain(secret);
    });

    test('pressed twice at once, it is sent once', async () => {
      world.clock.advance(week);
      const page = await signInFrom(await send());
      const both = await Promise.all([1, 2].map(() => browser.submit(page, {}, { action: '/resume/' })));
      expect(both.map(({ status }) => status).sort()).toEqual([201, 404]);
      expect(recorder.requests).toHaveLength(1);
    });

    test('waits as well when it was the provider that ended the login', async () => {
      const { id } = await readSession(browser);
      const { refreshToken } = (await readRecord(world, id))!.tokens;
      await (await world.provider.provider.RefreshToken.find(refreshToken!))!.destroy();
      world.clock.advance(301);
      const page = await signInFrom(await send('{"title":"as JSON"}', 'application/json; charset=utf-8'));
      expect(page.text).toContain('{\n  &#34;title&#34;: &#34;as JSON&#34;\n}');
      expect((await browser.submit(page, {}, { action: '/resume/' })).status).toBe(201);
      expect(await wasSent()).toEqual(['{"title":"as JSON"}']);
    });

    test.each([
      ['small', 'title=Paint+it+red&note=%3Cb%3E'],
      ['large', `title=${'x'.repeat(200_000)}`],
    ])('waits as well when only the API knew that the login was over: a %s one', async (_size, body) => {
      const { id } = await readSession(browser);
      const { refreshToken } = (await readRecord(world, id))!.tokens;
      await (await world.provider.provider.RefreshToken.find(refreshToken!))!.destroy();
      recorder.respondWith((req, res) => {
        req.resume();
        res.writeHead(401).end();
      });
      const refused = await send(body);
      expect(refused.status).toBe(401);
      expect(recorder.requests).toHaveLength(1); // and it was refused there
      recorder.respondWith(undefined);
      const page = await signInFrom(refused);
      expect((await browser.submit(page, {}, { action: '/resume/' })).status).toBe(201);
      expect((await recorder.requests.at(-1)!.body).bytes).toBe(body.length);
    });

    test('is nothing to another person, who does not even learn that it is there', async () => {
      world.clock.advance(week);
      const refused = await send();
      await leaveProvider();
      const foreign = await signInFrom(refused, 'bob');
      const unknown = await browser.step(`/resume/${'A'.repeat(43)}`);
      expect([foreign.status, unknown.status]).toEqual([404, 404]);
      expect(foreign.text).toContain('There is nothing to send here');
      expect(foreign.text).toBe(unknown.text);
      const post = (path: string) => browser.step(path, { method: 'POST', from: world.origin });
      expect((await post(resumePath(refused))).status).toBe(404);
      expect((await post(`${resumePath(refused)}/discard`)).status).toBe(404);
      expect(recorder.requests).toHaveLength(0);

      await leaveProvider();
      const mine = await signInFrom(refused); // it has not been taken from her by that
      expect((await browser.submit(mine, {}, { action: '/resume/' })).status).toBe(201);
    });

    test('can be discarded', async () => {
      world.clock.advance(week);
      const page = await signInFrom(await send());
      const home = await browser.submit(page, {}, { action: '/discard' });
      expect(home.url).toBe(`${world.origin}/`);
      expect((await browser.step(page.url)).status).toBe(404);
      expect(recorder.requests).toHaveLength(0);
    });

    test('is gone after half an hour', async () => {
      world.clock.advance(week);
      const page = await signInFrom(await send());
      world.clock.advance(1_801);
      expect((await browser.submit(page, {}, { action: '/resume/' })).status).toBe(404);
      expect(recorder.requests).toHaveLength(0);
    });

    test('leads to the login and back for whoever is not signed in', async () => {
      world.clock.advance(week);
      const path = resumePath(await send());
      for (const method of ['GET', 'POST']) {
        const answer = await browser.step(path, { method, from: world.origin });
        expect(answer.status).toBe(303);
        expect(answer.headers.location).toBe(`${world.origin}/login?return_to=${encodeURIComponent(path)}`);
      }
    });

    test('is sent by nobody from another site', async () => {
      world.clock.advance(week);
      const page = await signInFrom(await send());
      const forged = await browser.step(page.url, { method: 'POST', from: 'https://evil.example/' });
      expect(forged.status).toBe(403);
      expect(recorder.requests).toHaveLength(0);
      expect((await browser.step(page.url)).status).toBe(200);
    });

    test('from another site was never kept', async () => {
      world.clock.advance(week);
      const answer = await browser.step('/api/data', {
        method: 'POST',
        from: 'https://evil.example/',
        headers: { 'content-type': urlencoded },
        body: 'title=evil',
      });
      expect([answer.status, answer.text.includes('/resume/')]).toEqual([403, false]);
    });

    test.each([
      ['of 256 KB is kept', 262_144 - 2, true],
      ['of one byte more is not', 262_144 - 1, false],
    ])('%s', async (_what, length, isKept) => {
      world.clock.advance(week);
      const refused = await send(`a=${'x'.repeat(length)}`);
      if (!isKept) return expectNothingKept(refused);
      const page = await signInFrom(refused);
      expect(page.text.length).toBeLessThan(5_000); // of which a page shows a little
      expect((await browser.submit(page, {}, { action: '/resume/' })).status).toBe(201);
      expect((await recorder.requests[0]!.body).bytes).toBe(262_144);
    });

    test.each([
      ['a file upload', 'multipart/form-data; boundary=x'],
      ['plain text', 'text/plain'],
      ['something without a type', ''],
    ])('is not kept when it is %s', async (_what, type) => {
      recorder.respondWith((req, res) => {
        req.resume();
        res.writeHead(401).end();
      });
      const { id } = await readSession(browser);
      const { refreshToken } = (await readRecord(world, id))!.tokens;
      await (await world.provider.provider.RefreshToken.find(refreshToken!))!.destroy();
      expectNothingKept(await send('--x--', type)); // when it was read already, as the API refused it
      expectNothingKept(await send('--x--', type)); // and when it was not
      expect(recorder.requests).toHaveLength(1);
    });

    test('is not kept for a script, which still has it', async () => {
      world.clock.advance(week);
      const answer = await browser.fetch('/api/data', {
        method: 'POST',
        headers: { 'content-type': urlencoded },
        body: 'a=1',
      });
      expect(answer.status).toBe(401);
      expect(answer.text).not.toContain('resume');
    });

    test('is not kept after signing out, nor for a stranger, nor under an id somebody made up', async () => {
      const { value } = await readSession(browser);
      await browser.fetch('/auth/logout', { method: 'POST' });
      expectNothingKept(await send());
      const stranger = world.browser();
      expectNothingKept(await send('a=1', urlencoded, stranger));
      await stranger.jar.setCookie(
        `latchkey=${value.replace(/.(?=\.)/, (each) => (each === 'A' ? 'B' : 'A'))}`,
        world.origin,
      );
      expectNothingKept(await send('a=1', urlencoded, stranger));
    });

    test('is not lost when sending fails before anything was sent', async () => {
      world.clock.advance(week);
      const page = await signInFrom(await send());
      const { id } = await readSession(browser);
      const { tokenStore } = world.latchkey.deps;
      const { get } = tokenStore;
      let asked = 0;
      Object.assign(tokenStore, {
        get: (...how: Parameters<typeof get>) =>
          ++asked < 2 ? get(...how) : Promise.reject(storeUnavailable(new Error('Redis is away'))),
      });
      const failed = await browser.submit(page, {}, { action: '/resume/' });
      Object.assign(tokenStore, { get });
      expect([failed.status, asked]).toEqual([503, 2]);
      expect(failed.text).toContain('What you entered is kept');
      expect(failed.text).toContain(`href="${new URL(page.url).pathname}"`);

      const record = (await readRecord(world, id))!; // a permission is missing by now
      await tokenStore.update(id, async (newest) => ({
        ...newest,
        tokens: { ...newest.tokens, scope: ['openid'] },
      }));
      const refused = await browser.submit(page, {}, { action: '/resume/' });
      expect(refused.status).toBe(403);
      expect(resumePath(refused)).toBe(new URL(page.url).pathname);
      await tokenStore.update(id, async () => record);
      expect(recorder.requests).toHaveLength(0);
      expect((await browser.submit(page, {}, { action: '/resume/' })).status).toBe(201);
    });

    test('is not offered once more when it may have arrived', async () => {
      world.clock.advance(week);
      const page = await signInFrom(await send());
      recorder.respondWith((req) => req.socket.destroy());
      const failed = await browser.submit(page, {}, { action: '/resume/' });
      expect([failed.status, failed.text.includes('/resume/')]).toEqual([502, false]);
      expect((await browser.step(page.url)).status).toBe(404);
    });

    test('is left to the browser when nobody can tell who is signed in', async () => {
      const { tokenStore } = world.latchkey.deps;
      const { get } = tokenStore;
      Object.assign(tokenStore, { get: () => Promise.reject(storeUnavailable(new Error('Redis is away'))) });
      const answer = await send();
      Object.assign(tokenStore, { get });
      expect(answer.status).toBe(503);
      expect(answer.text).toContain('your browser still has it');
      expect((await send()).status).toBe(201);
    });

    test('is left to the browser when it cannot be kept', async () => {
      world.clock.advance(week);
      const { savedForms } = world.latchkey.deps;
      const { put } = savedForms;
      Object.assign(savedForms, { put: () => Promise.reject(storeUnavailable(new Error('Redis is away'))) });
      expectNothingKept(await send());
      Object.assign(savedForms, { put });
    });
  },
);

test('a form of somebody whom the provider does not name is not kept: nobody could prove that it is theirs', async () => {
  const world = await createWorld({ store: 'memory', env: { OAUTH2_SCOPES: 'read:data write:data' } });
  const browser = world.browser();
  await world.signIn(browser);
  world.clock.advance(week);
  const headers = { 'content-type': urlencoded };
  const refused = await browser.step('/api/data', {
    method: 'POST',
    from: world.origin,
    headers,
    body: 'a=1',
  });
  expect(refused.status).toBe(401);
  expect(refused.text).not.toContain('resume');
  expect(refused.text).toContain('your browser still has it');
  await world.close();
});

test('a form kept by one instance is shown and sent by another', async () => {
  const recorder = await startRecorder();
  const world = await createWorld({
    env: { OAUTH2_API_BASE_URL: recorder.url, OAUTH2_SCOPES: 'openid read:data write:data' },
  });
  const browser = world.browser();
  await world.signIn(browser);
  const { id } = await readSession(browser);
  await world.latchkey.deps.tokenStore.take(id);
  const refused = await browser.step('/api/data', {
    method: 'POST',
    from: world.origin,
    headers: { 'content-type': urlencoded },
    body: 'a=1',
  });
  const path = /%2Fresume%2F([\w-]{43})/.exec(refused.text)![1]!;
  await world.signIn(browser, 'alice', '/auth/login?return_to=/');
  const second = await world.startAnotherInstance();
  const there = new Browser(second.origin, browser.jar); // the jar does not tell ports apart
  const page = await there.step(`/resume/${path}`);
  expect(page.status).toBe(200);
  const sent = await there.step(`/resume/${path}`, { method: 'POST', from: second.origin });
  expect(sent.status).toBe(201);
  expect((await browser.step(`/resume/${path}`)).status).toBe(404);
  expect(recorder.requests.filter(({ method }) => method === 'POST')).toHaveLength(1);
  await world.close();
  await recorder.close();
});
