import { storeUnavailable } from '../../src/errors.ts';
import { createMemorySessionIndex } from '../../src/stores/memory/indexed-sessions.ts';
import { createSessionList } from '../../src/tokens/session-list.ts';
import { type TokenRecord, UnreadableRecordError } from '../../src/tokens/token-store.ts';

const record: TokenRecord = {
  tokens: { accessToken: 'a', tokenType: 'bearer', scope: [], issuedAt: 0 },
  user: { sub: 'alice' },
  signedInAt: 0,
};

/** A list over this many sessions of alice, which end with `takeBy`. */
async function createList(
  count: number,
  {
    unreadable,
    isSignedIn = () => true,
    ...ending
  }: {
    takeBy(id: string): Promise<void>;
    processOutbox(): Promise<void>;
    readonly unreadable?: string;
    readonly isSignedIn?: () => boolean;
  },
) {
  let reads = 0;
  const index = createMemorySessionIndex(() => 0);
  const live = new Map(Array.from({ length: count }, (_, number) => [`session-${number}`, record]));
  for (const id of live.keys()) await index.add(id, record, { lastUsedAt: 0, endsAt: 1 });
  const list = createSessionList({
    store: {
      async get(id) {
        reads += 1;
        if (id === unreadable) throw storeUnavailable(new UnreadableRecordError());
        return live.get(id);
      },
    },
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
    isSignedIn,
    maxPerUser: 0,
  });
  index.close();
  return { list, live, countReads: () => reads };
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

test('a session whose record cannot be read hides no other session of its user', async () => {
  const { list } = await createList(3, {
    takeBy: async () => {},
    processOutbox: async () => {},
    unreadable: 'session-1',
  });
  const entries = await list.sessionsOf('alice');
  expect(entries.map(({ id }) => id).sort()).toEqual(['session-0', 'session-2']);
});

test('thousands of sessions that are no longer signed in do not make a list read all of them', async () => {
  const { list, countReads } = await createList(2_500, {
    takeBy: async () => {},
    processOutbox: async () => {},
    isSignedIn: () => false,
  });
  expect(await list.sessionsOf('alice')).toEqual([]);
  expect(countReads()).toBe(1_000);
});
