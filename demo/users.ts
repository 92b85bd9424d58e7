/** A user of the demo provider, with the data the demo API has about them. */
export interface User {
  readonly sub: string;
  readonly name: string;
  readonly email: string;
  readonly memberSince: string;
  readonly plan: string;
  readonly items: readonly string[];
}

const users: readonly User[] = [
  {
    sub: 'alice',
    name: 'Alice Liddell',
    email: 'alice@example.test',
    memberSince: '2019-05-04',
    plan: 'Garden',
    items: ['Paint the roses red', 'Bring a watch to tea', 'Return the flamingo'],
  },
  {
    sub: 'bob',
    name: 'Bob Cratchit',
    email: 'bob@example.test',
    memberSince: '2021-12-24',
    plan: 'Window box',
    items: ['Ask for more coal', 'Order the goose'],
  },
];

/** The user with this subject identifier, which is also their username. */
export function findUser(sub: string): User | undefined {
  return users.find((user) => user.sub === sub);
}
