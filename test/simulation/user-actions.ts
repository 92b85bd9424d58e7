import type { TokenRecord } from '../../src/tokens/token-store.ts';
import { claims } from './claims.ts';
import type { Session } from './history.ts';
import type { Instance } from './instance.ts';
import type { Action } from './schedule.ts';
import type { Browser, World } from './world.ts';

const requirements = { scope: ['read:data'] } as const;

/** What users do, as the routes of Latchkey do it, and what they may expect of it. */
export function createUserActions(world: World): (action: Action) => void {
  const { history, provider, time, schedule } = world;
  let sessionCount = 0;
  let nonceCount = 0;
  const consumed = new Set<string>();
  const takenForms = new Set<string>();
  const appTokens = new Map<Instance, Map<string, number>>();

  /** The session of the same user that has replaced this one; a sign-out ends it too. */
  function successorOf({ replacedBy, user }: Session): Session | undefined {
    const successor = replacedBy === undefined ? undefined : history.sessions.get(replacedBy);
    return successor?.user === user ? successor : undefined;
  }

  const isLive = (session: Session) =>
    session.endRequestedAt === undefined && session.replacedBy === undefined && !world.isExpired(session);

  const browserOf = ({ browser }: { readonly browser: number }) =>
    world.browsers[browser % world.browsers.length]!;

  /** Runs a request of a browser in a process. `run` gets the session that the browser has now. */
  function request(
    action: { readonly browser: number; readonly instance: number },
    kind: string,
    run: (process: Instance, from: Browser, session: Session) => Promise<void>,
    session = browserOf(action).session,
  ): void {
    const process = world.pick(action.instance);
    const from = browserOf(action);
    if (!process || !session) return;
    world.requests += 1;
    process.request(() =>
      run(process, from, session).catch((error: unknown) => {
        history.note(`${process.name} ${kind} ${session.id}: ${world.describe(error)}`);
      }),
    );
  }

  /**
   * Serves a request with the record that `read` returns, and returns it.
   * @param bound the record is the newest one at this time, or later
   */
  async function serve(
    process: Instance,
    session: Session,
    read: () => Promise<TokenRecord | undefined>,
    bound = time.nowMs,
  ): Promise<TokenRecord | undefined> {
    const startedAt = time.nowMs;
    const record = await read();
    if (record) {
      session.usedAt = Math.max(session.usedAt, startedAt);
      world.freshness.judge(session, record, process, startedAt, bound);
    } else {
      if (isLive(session)) world.claims.judgeSignedOut(session, process.name);
      session.endRequestedAt ??= time.nowMs; // judged once
    }
    return record;
  }

  const call = (process: Instance, session: Session) =>
    serve(
      process,
      session,
      () => process.tokens.current(session.id),
      world.freshness.boundOf(process, session),
    );

  function openPage({ browser, instances, calls, everyMs }: Extract<Action, { kind: 'page' }>): void {
    const { session } = browserOf({ browser });
    for (let each = 0; each < calls; each += 1) {
      const instance = instances[each % instances.length]!;
      const send = () =>
        request(
          { browser, instance },
          'call',
          async (process) => void (await call(process, session!)),
          session,
        );
      time.schedule(each * everyMs, send);
    }
  }

  /** As `GET /auth/callback` (routes/callback.ts). */
  async function login(process: Instance, browser: Browser, user: string): Promise<void> {
    const { tokens, consumedStates } = process;
    const old = browser.session;
    nonceCount += 1;
    const nonce = `nonce-${nonceCount}`;
    const [binding, beganAt] = [`binding of ${browser.name}`, time.nowMs];
    if (old) await tokens.peek(old.id);
    if (!(await consumedStates.consume(nonce))) return;
    await new Promise<void>((resolve) => time.schedule(world.random.between(20, 400), resolve, process));
    // Another user at the provider: it ends the session that was there.
    for (const other of browser.grants.keys()) if (other !== user) browser.grants.delete(other);
    let grant = browser.grants.get(user);
    if (!grant || grant.isRevoked) {
      grant = provider.createGrant(user);
      browser.grants.set(user, grant);
    }
    const granted = provider.login(grant);
    sessionCount += 1;
    const id = `s${sessionCount}`;
    const issuedAt = Date.now();
    const tokenSet = {
      accessToken: granted.accessToken,
      refreshToken: granted.value,
      tokenType: 'bearer',
      scope: ['read:data'],
      issuedAt,
      expiresAt: issuedAt + schedule.provider.accessTokenSeconds * 1000,
    };
    try {
      await tokens.establish(
        id,
        { tokens: tokenSet, user: { sub: user }, identity: undefined },
        requirements,
      );
    } catch (error) {
      await tokens.discard(id);
      throw error;
    }
    const session: Session = {
      ...{ id, user, grant, login: granted.login, startedAt: time.nowMs, usedAt: time.nowMs },
      ...{
        endRequestedAt: undefined,
        signOutCount: 0,
        signOutRequestedAt: undefined,
        signOutRequestedLastAt: undefined,
        signedOutAt: undefined,
        replacedBy: undefined,
        replaces: old?.id,
        removedAt: undefined,
      },
    };
    history.sessions.set(id, session);
    history.note(
      `${process.name} login of ${user} in ${browser.name}: ${id}${old ? ` replaces ${old.id}` : ''}`,
    );
    if (old) {
      old.endRequestedAt ??= time.nowMs;
      old.replacedBy = id;
      await tokens.endReplaced(old.id, id, { sub: user }).then(
        () => {
          old.removedAt = time.nowMs;
        },
        () => undefined,
      );
    }
    if (await consumedStates.isCancelled(binding, beganAt)) {
      session.endRequestedAt ??= time.nowMs;
      session.signOutRequestedAt ??= time.nowMs;
      session.signOutRequestedLastAt = time.nowMs;
      await tokens.end(id);
      history.note(`${process.name} login of ${user}: signed out meanwhile`);
      return;
    }
    // The browser gets the cookie with the response, the last one of two logins at the same moment.
    if (browser.session && browser.session !== old) browser.session.endRequestedAt ??= time.nowMs;
    browser.session = session;
  }

  async function signOut(process: Instance, browser: Browser, session: Session): Promise<void> {
    const wasExpired = world.isExpired(session);
    // A sign-out with the cookie of a replaced session also ends the session that has replaced it.
    for (let each: Session | undefined = session; each; each = successorOf(each)) {
      each.endRequestedAt ??= time.nowMs;
      each.signOutRequestedAt ??= time.nowMs;
      each.signOutRequestedLastAt = time.nowMs;
      each.signOutCount += 1;
    }
    // The browser goes on to the provider, which ends the user's session there: the next login makes another grant.
    if (browser.grants.get(session.user) === session.grant) browser.grants.delete(session.user);
    history.note(`${process.name} sign-out of ${session.id} begins`);
    await process.consumedStates.cancel(`binding of ${browser.name}`, time.nowMs);
    const wasSignedIn = await process.tokens.end(session.id);
    history.note(`${process.name} sign-out of ${session.id}: ${wasSignedIn !== undefined}`);
    if (session.replacedBy === undefined && (wasSignedIn || !wasExpired)) session.signedOutAt = time.nowMs;
    if (browser.session === session) browser.session = undefined;
  }

  async function callApp(process: Instance, scope: string): Promise<void> {
    const ofProcess = appTokens.get(process) ?? new Map<string, number>();
    appTokens.set(process, ofProcess);
    const validUntil = ofProcess.get(scope) ?? 0;
    try {
      const { expiresAt = 0 } = await process.appTokens.current([scope]);
      ofProcess.set(scope, expiresAt);
    } catch (error) {
      if (Date.now() < validUntil - 100)
        history.violate(
          claims.appTokens,
          `${process.name} has a valid token for ${scope}: ${world.describe(error)}`,
        );
    }
  }

  async function consume(process: Instance, nonce: string): Promise<void> {
    if (!(await process.consumedStates.consume(nonce))) return;
    if (consumed.has(nonce) && !history.hasDataLossSince(0))
      history.violate(claims.singleUse, `state ${nonce}`);
    consumed.add(nonce);
  }

  async function saveAndTake(processes: readonly Instance[], name: string): Promise<void> {
    const [first, ...others] = processes;
    if (!first) return;
    const form = {
      ...{ sessionId: name, userTag: name, method: 'POST', url: '/api/things', contentType: 'text/plain' },
      ...{ body: Buffer.from(name), keptAt: Date.now() },
    };
    await first.savedForms.put(name, form);
    const savedAt = time.nowMs;
    let failures = 0;
    const take = async (process: Instance) => {
      const taken = await process.savedForms.take(name).catch(() => {
        failures += 1;
        return undefined;
      });
      if (!taken) return;
      if (takenForms.has(name) && !history.hasDataLossSince(savedAt))
        history.violate(claims.singleUse, `form ${name}`);
      takenForms.add(name);
    };
    await Promise.all(
      processes.map((each) => new Promise<void>((done) => each.request(() => take(each).finally(done)))),
    );
    const isLost = !takenForms.has(name) && failures === 0 && others.every((each) => !each.isDead);
    if (isLost && !first.isDead && !history.hasDataLossSince(savedAt))
      history.violate(claims.singleUse, `form ${name} is lost`);
  }

  return function act(action) {
    switch (action.kind) {
      case 'login': {
        const process = world.pick(action.instance);
        const browser = browserOf(action);
        if (!process) return;
        world.requests += 1;
        process.request(() =>
          login(process, browser, action.user).catch((error: unknown) => {
            history.note(`${process.name} login in ${browser.name} failed: ${world.describe(error)}`);
          }),
        );
        return;
      }
      case 'call':
        return request(action, 'call', async (process, _browser, session) => {
          await call(process, session);
        });
      case 'page':
        return openPage(action);
      case 'refresh':
        return request(action, 'refresh', async (process, _browser, session) => {
          await serve(process, session, () => process.tokens.refresh(session.id));
        });
      case 'rejected':
        return request(action, 'rejected', async (process, _browser, session) => {
          const bound = world.freshness.boundOf(process, session);
          const record = await call(process, session);
          if (!record) return;
          await serve(
            process,
            session,
            () => process.tokens.replaceRefused(session.id, record.tokens),
            bound,
          );
        });
      case 'sign_out':
        return request(action, 'sign-out', signOut);
      case 'app_call': {
        const process = world.pick(action.instance);
        process?.request(() => callApp(process, action.scope));
        return;
      }
      case 'state':
        for (const index of action.instances) {
          const process = world.pick(index);
          process?.request(() => consume(process, action.nonce).catch(() => undefined));
        }
        return;
      case 'form': {
        const processes = action.instances.flatMap((index) => world.pick(index) ?? []);
        processes[0]?.request(() => saveAndTake(processes, action.form).catch(() => undefined));
      }
    }
  };
}
