import { createMemorySessionIndex } from '../../src/stores/memory/indexed-sessions.ts';
import { createSessionList } from '../../src/tokens/session-list.ts';
import type { TokenRecord } from '../../src/tokens/token-store.ts';

const record: TokenRecord = {
  tokens: { accessToken: 'a', tokenType: 'bearer', scope: [], issuedAt: 0 },
  user: { sub: 'alice' },
  signedInAt: 0,
};

/** A list over this many sessions of alice, which end with `takeBy`. */
async function createList(
  count: number,
  ending: { takeBy(id: string): Promise<void>; processOutbox(): Promise<void> },
) {
  const index = createMemorySessionIndex(() => 0);
  const live = new Map(Array.from({ length: count }, (_, number) => [`session-${number}`, record]));
  for (const id of live.keys()) await index.add(id, record, { lastUsedAt: 0, endsAt: 1 });
  const list = createSessionList({
    store: { get: async (id) => live.get(id) },
    index,
    ending: {
      async takeBy(id) {
        await ending.takeBy(id);
        const taken = live.get(id);
        live.delete(id);
        return taken;
      },
      processOutbox: ending.processOutbox,
    },
    isSignedIn: () => true,
    maxPerUser: 0,
  });
  index.close();
  return { list, live };
}

test('all sessions of a user end before the provider has revoked any of their tokens', async () => {
  let waits = 0;
  const processOutbox = async () => {
    waits += 1;
    expect(live.size).toBe(0);
  };
  const { list, live } = await createList(1_500, { takeBy: async () => {}, processOutbox });
  expect(await list.endAllOf({ sub: 'alice' }, 'administrator')).toBe(1_500);
  expect(waits).toBe(1);
});

test('a session that cannot be ended does not keep the others of its user alive, and the caller learns it', async () => {
  const failure = new Error('this record cannot be read');
  const takeBy = (id: string) => (id === 'session-3' ? Promise.reject(failure) : Promise.resolve());
  const { list, live } = await createList(120, { takeBy, processOutbox: async () => {} });
  await expect(list.endAllOf({ sub: 'alice' }, 'administrator')).rejects.toBe(failure);
  expect([...live.keys()]).toEqual(['session-3']);
});

test('a user with thousands of sessions gets the first hundred, unless more are requested', async () => {
  const { list } = await createList(2_500, { takeBy: async () => {}, processOutbox: async () => {} });
  expect(await list.sessionsOf('alice')).toHaveLength(100);
  expect(await list.sessionsOf('alice', Number.POSITIVE_INFINITY)).toHaveLength(2_500);
});
