/** Someone who can sign in at the demo provider, and what the demo API knows about them. */
export interface Person {
  readonly sub: string;
  readonly name: string;
  readonly email: string;
  readonly memberSince: string;
  readonly plan: string;
  readonly items: readonly string[];
}

const people: readonly Person[] = [
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

/** The person with this subject identifier, which is also the name they sign in with. */
export function findPerson(sub: string): Person | undefined {
  return people.find((person) => person.sub === sub);
}
