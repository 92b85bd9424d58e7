import { MemoryStore } from 'express-session';
import { Secret } from '../../src/crypto/secret.ts';
import { createHandOver } from '../../src/stores/memory/hand-over.ts';
import { createMemorySessionIndex } from '../../src/stores/memory/indexed-sessions.ts';
import { createMemorySavedForms } from '../../src/stores/memory/saved-forms.ts';
import { createMemoryTokenStore } from '../../src/stores/memory/token-store.ts';

const lifetime = { idleSeconds: 60, absoluteSeconds: 3_600 };
const record = {
  tokens: { accessToken: 'an-access-token', tokenType: 'Bearer', scope: [], issuedAt: 0 },
  user: { sub: 'alice' },
  signedInAt: 0,
} as const;
const form = {
  ...{ sessionId: 'a', userTag: 'alice', method: 'POST', url: '/api/orders', contentType: 'text/plain' },
  ...{ body: Buffer.from([0, 255]), keptAt: 0 },
};
const now = () => 1_000;

function createStores(secrets = ['a-secret'], registration = 'one') {
  const sessionStore = new MemoryStore();
  const source = { secrets: secrets.map((each) => new Secret(each)), registration };
  const handOver = createHandOver(source, sessionStore);
  const index = createMemorySessionIndex(now, undefined, handOver.map);
  const events = { publish: () => undefined };
  const tokens = createMemoryTokenStore(lifetime, now, events, index, now, handOver.map);
  const forms = createMemorySavedForms(now, 1_000_000, handOver.map);
  return { handOver, index, tokens, forms, sessionStore, close: () => index.close() };
}

async function release() {
  const stores = createStores();
  await stores.tokens.put('a', record);
  await stores.tokens.put('b', record);
  await stores.tokens.take('b', { kind: 'signed_out' });
  await stores.forms.put('form', form);
  const data = { cookie: { originalMaxAge: null }, startedAt: 5 };
  await new Promise<void>((resolve) => stores.sessionStore.set('a', data as never, () => resolve()));
  stores.close();
  return stores.handOver.release();
}

test('the next process has the sessions, what ended them, the index, the saved forms and the session data', async () => {
  const next = createStores(['another-secret', 'a-secret']);
  expect(await next.handOver.takeOver(await release())).toBe(true);
  expect(await next.tokens.get('a')).toEqual(record);
  expect(await next.tokens.get('b')).toBeUndefined();
  await expect(next.tokens.put('b', record)).rejects.toMatchObject({ code: 'login_required' });
  expect(await next.tokens.endReason('b')).toEqual({ kind: 'signed_out' });
  expect(await next.index.find({ sub: 'alice' }, 10)).toMatchObject([{ id: 'a' }]);
  expect((await next.forms.take('form'))?.body).toEqual(form.body);
  const data = await new Promise((resolve) => next.sessionStore.get('a', (_error, each) => resolve(each)));
  expect(data).toMatchObject({ startedAt: 5 });
  next.close();
});

test('what is released contains no token, and another secret, provider or client cannot open it', async () => {
  const sealed = await release();
  expect(sealed.toString('latin1')).not.toContain('an-access-token');
  for (const next of [createStores(['another-secret']), createStores(['a-secret'], 'two')]) {
    expect(await next.handOver.takeOver(sealed)).toBe(false);
    expect(await next.tokens.get('a')).toBeUndefined();
    next.close();
  }
});
