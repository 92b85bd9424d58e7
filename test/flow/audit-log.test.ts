import { readFileSync, writeFileSync } from 'node:fs';
import { type AuditLine, auditEvents, auditFields } from '../../src/audit/audit-events.ts';
import { createTokenManager } from '../../src/tokens/token-manager.ts';
import { readSession } from '../hostile/support/logged-in.ts';
import { waitFor } from '../support/redis-topologies.ts';
import { createWorld, type World } from '../support/world.ts';

const scopes = 'openid profile email offline_access read:profile read:data';

describe('a day in the audit log', () => {
  let world: World;
  const rows: string[] = [];
  let all: readonly AuditLine[];

  /** The new lines since the last step, as rows of the table in the documentation. */
  async function step(what: string, act: () => Promise<unknown>, expectedLines: number): Promise<void> {
    const before = world.latchkey.auditLines().length;
    await act();
    await waitFor(() => world.latchkey.auditLines().length >= before + expectedLines);
    const lines = world.latchkey.auditLines().slice(before);
    for (const [index, line] of lines.entries())
      rows.push(`| ${index === 0 ? what : ''} | ${describeLine(line)} |`);
  }

  const names = new Map<string, string>();
  function nameOf(session: AuditLine['session']): string {
    if (session === null) return '';
    const name = names.get(String(session)) ?? `S${names.size + 1}`;
    names.set(String(session), name);
    return name;
  }
  const describeLine = ({ event, outcome, reason, subject, session }: AuditLine) =>
    [event, outcome, reason ?? '', subject ?? '', nameOf(session)].join(' | ');

  beforeAll(async () => {
    world = await createWorld({ accessTokenSeconds: 100, env: { OAUTH2_SCOPES: scopes } });
    const [laptop, phone] = [world.browser(), world.browser()];
    const otherProcess = createTokenManager({
      ...world.latchkey.deps,
      ...{ store: world.latchkey.deps.tokenStore, index: world.latchkey.deps.sessionIndex },
      oauth: {} as never,
      outbox: {
        ...{ add: async () => {}, processNew: async () => {}, processDue: async () => {} },
        ...{ pending: async () => 0, close() {} },
      },
      maxSessionsPerUser: 0,
    });

    await step('Alice signs in on her laptop', () => world.signIn(laptop), 2);
    await step(
      'her token is refreshed',
      async () => {
        await world.clock.advance(101);
        await laptop.fetch('/api/data');
      },
      1,
    );
    await step(
      'she calls an API that requires more',
      async () => {
        expect((await laptop.fetch('/api/data', { method: 'POST', body: '{}' })).status).toBe(403);
      },
      1,
    );
    await step(
      'she grants it',
      async () => {
        await world.signIn(laptop, 'alice', '/auth/login?scope=write:data');
      },
      5,
    );
    await step(
      'a page of another site sends a request',
      async () => {
        const headers = { 'sec-fetch-site': 'cross-site' };
        expect((await laptop.fetch('/api/data', { headers })).status).toBe(403);
      },
      1,
    );
    await step(
      'the provider is down when her token expires',
      async () => {
        world.providerFaults.set({ path: /^\/token$/, response: { status: 503, body: '' } });
        await world.clock.advance(101);
        expect((await laptop.fetch('/api/data')).status).toBe(503);
      },
      1,
    );
    await step(
      'the provider is back',
      async () => {
        world.providerFaults.set(undefined);
        await world.clock.advance(30);
        for (let attempts = 0; (await laptop.fetch('/api/data')).status !== 200; attempts += 1)
          if (attempts > 100) throw new Error('the session does not recover');
      },
      1,
    );
    await step('she signs in on her phone', () => world.signIn(phone), 2);
    const { id: phoneId } = await readSession(phone);
    await step(
      'and ends her other sessions',
      () => otherProcess.endAllOf({ sub: 'alice' }, 'user', phoneId),
      1,
    );
    await step(
      'an administrator ends her sessions',
      () => otherProcess.endAllOf({ sub: 'alice' }, 'administrator'),
      1,
    );
    await step('she signs in again', () => world.signIn(phone), 2);
    await step(
      'and signs out',
      async () => {
        await phone.submit(await phone.go('/auth/logout'), {}, { action: '/auth/logout' });
        await world.latchkey.drain();
      },
      4,
    );
    await step(
      'Bob declines on the page of the provider',
      async () => {
        const browser = world.browser();
        const login = await browser.go('/auth/login');
        const denied = await browser.submit(login, { decision: 'cancel' }, { action: '/login' });
        expect(denied.url).toContain('/auth/sign-in');
      },
      2,
    );
    await step('somebody invents a callback', () => world.browser().go('/auth/callback?state=x&code=y'), 1);
    all = world.latchkey.auditLines();
  }, 60_000);
  afterAll(() => world.close());

  test('it appears line by line as docs/audit-log.md prints it', () => {
    const path = new URL('../../docs/audit-log.md', import.meta.url);
    const page = readFileSync(path, 'utf8');
    const head =
      '| what happens | event | outcome | reason | subject | session |\n|---|---|---|---|---|---|\n';
    const table = `${head}${rows.join('\n')}\n`;
    if (process.env.UPDATE_DOCS)
      writeFileSync(path, page.replace(/\| what happens \|[\s\S]*?\n(?=\n)/, table));
    expect(page).toContain(table);
  });

  test('every line has the same fields, a known event with its outcome, and one of its reasons or none', () => {
    expect(all.length).toBeGreaterThan(15);
    for (const line of all) {
      expect(Object.keys(line)).toEqual(expect.arrayContaining([...auditFields]));
      const type = auditEvents[line.event as keyof typeof auditEvents];
      expect(line.outcome).toBe(type.outcome);
      if (type.reasons.length > 0) expect(type.reasons).toContain(line.reason);
      else expect(line.reason).toBeNull();
      expect(line).toMatchObject({
        client: world.client.clientId,
        issuer: `${world.provider.issuer}/`,
        count: 1,
      });
    }
  });

  test('lines have the request id of the response and of the other lines of the request', async () => {
    const response = await world
      .browser()
      .fetch('/api/data', { headers: { 'sec-fetch-site': 'cross-site' } });
    const id = response.headers['x-request-id'];
    expect(world.latchkey.auditLines().at(-1)).toMatchObject({ event: 'request_rejected', request_id: id });
    const lines = world.latchkey.logLines.filter((line) => line.includes(String(id)));
    expect(lines.length).toBeGreaterThanOrEqual(2);
    for (const line of lines) expect(line.match(/"reqId"/g)).toHaveLength(1);
  });

  test('a session id appears in no line', async () => {
    const browser = world.browser();
    await world.signIn(browser);
    const { id } = await readSession(browser);
    expect(JSON.stringify(world.latchkey.auditLines())).not.toContain(id);
  });
});

describe.each(['memory', 'redis'] as const)('a session that expires (%s)', (store) => {
  test('ends with one line that says so, on one instance; one that was signed out has none', async () => {
    const world = await createWorld({ store, env: { OAUTH2_SCOPES: scopes, SESSION_IDLE_SECONDS: '1' } });
    try {
      const [leaving, staying] = [world.browser(), world.browser()];
      await world.signIn(leaving);
      await leaving.submit(await leaving.go('/auth/logout'), {}, { action: '/auth/logout' });
      await world.signIn(staying);
      const { id } = await readSession(staying);
      const { tokenStore } = world.latchkey.deps;
      const other = store === 'redis' ? await world.startAnotherInstance() : undefined;
      const instances = [world.latchkey, ...(other ? [other] : [])];
      if (store === 'memory') await world.clock.advance(2);
      await waitFor(async () => (await tokenStore.get(id)) === undefined);
      await world.clock.advance(10);
      await Promise.all(instances.map(({ deps }) => deps.sessionIndex.sweep()));
      const ends = instances
        .flatMap((each) => each.auditLines())
        .filter(({ event, reason }) => event === 'session_ended' && reason === 'expired');
      expect(ends).toHaveLength(1);
      const started = world.latchkey.auditLines().filter(({ event }) => event === 'login_succeeded');
      expect(ends[0]!.session).toBe(started.at(-1)!.session);
    } finally {
      await world.close();
    }
  }, 30_000);
});
