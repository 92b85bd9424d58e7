import { randomUUID } from 'node:crypto';
import type { Person } from './people.ts';

export interface Item {
  readonly id: string;
  readonly created_at: string;
  readonly [member: string]: unknown;
}

export interface ItemLists {
  /** Newest first. */
  of(person: Person): readonly Item[];
  add(person: Person, members: object): Item;
}

const mostItems = 20;

function createItem(members: object): Item {
  return { ...members, id: randomUUID(), created_at: new Date().toISOString() };
}

/** Everybody's list, kept in memory; only the newest 20 items of each. */
export function createItemLists(): ItemLists {
  const lists = new Map<string, readonly Item[]>();

  function of(person: Person): readonly Item[] {
    const list = lists.get(person.sub) ?? person.items.map((title) => createItem({ title }));
    lists.set(person.sub, list);
    return list;
  }

  return {
    of,
    add(person, members) {
      const item = createItem(members);
      lists.set(person.sub, [item, ...of(person)].slice(0, mostItems));
      return item;
    },
  };
}
