import { randomUUID } from 'node:crypto';
import type { User } from './users.ts';

export interface Item {
  readonly id: string;
  readonly created_at: string;
  readonly [member: string]: unknown;
}

export interface ItemStore {
  /** The user's items, newest first. */
  list(user: User): readonly Item[];
  add(user: User, members: object): Item;
}

const maxItems = 20;
const maxTitleLength = 200;
const expected = 'Send an item as JSON, such as {"title": "Water the roses"}.';

/** What is wrong with `body` as a new item, and what is expected; `undefined` if nothing is. */
export function findItemProblem(contentType: string | undefined, body: unknown): string | undefined {
  if (!contentType?.startsWith('application/json'))
    return `The content type is ${contentType ?? 'missing'}, not application/json. ${expected}`;
  if (typeof body !== 'object' || body === null || Array.isArray(body))
    return `The body is not a JSON object. ${expected}`;
  const title: unknown = Reflect.get(body, 'title');
  if (typeof title !== 'string' || title.trim() === '') return `The item has no title. ${expected}`;
  return title.length > maxTitleLength ? `The title is longer than ${maxTitleLength} characters.` : undefined;
}

function createItem(members: object): Item {
  return { ...members, id: randomUUID(), created_at: new Date().toISOString() };
}

/** One list of items per user, in memory; adding to a full list drops the oldest item. */
export function createItemStore(): ItemStore {
  const itemsBySub = new Map<string, readonly Item[]>();

  function list(user: User): readonly Item[] {
    const items = itemsBySub.get(user.sub) ?? user.items.map((title) => createItem({ title }));
    itemsBySub.set(user.sub, items);
    return items;
  }

  return {
    list,
    add(user, members) {
      const item = createItem(members);
      itemsBySub.set(user.sub, [item, ...list(user)].slice(0, maxItems));
      return item;
    },
  };
}
