interface DemoScope {
  readonly name: string;
  /** Completes "The application will be able to ...". */
  readonly words: string;
  /** Whether the person may leave it out on the consent page and still sign in. */
  readonly optional: boolean;
}

const scopes: readonly DemoScope[] = [
  { name: 'openid', words: 'know who you are', optional: false },
  { name: 'profile', words: 'see your name', optional: false },
  { name: 'email', words: 'see your e-mail address', optional: false },
  { name: 'offline_access', words: 'stay signed in while you are away', optional: false },
  { name: 'read:profile', words: 'read your member profile', optional: true },
  { name: 'read:data', words: 'read your list', optional: true },
  { name: 'write:data', words: 'add to your list', optional: true },
];

/** Every scope the demo provider knows. */
export const scopeNames: readonly string[] = scopes.map(({ name }) => name);

/** The named scopes, in the order of the consent page; unknown names are left out. */
export function describeScopes(names: Iterable<string>): readonly DemoScope[] {
  const wanted = new Set(names);
  return scopes.filter(({ name }) => wanted.has(name));
}
