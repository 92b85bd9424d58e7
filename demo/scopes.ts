interface DemoScope {
  readonly name: string;
  /** Completes "The application would like to ...". */
  readonly description: string;
  /** Whether the user can deny it on the consent page and still sign in. */
  readonly optional: boolean;
}

const scopes: readonly DemoScope[] = [
  { name: 'openid', description: 'know who you are', optional: false },
  { name: 'profile', description: 'see your name', optional: false },
  { name: 'email', description: 'see your email address', optional: false },
  { name: 'offline_access', description: 'keep its access while you are away', optional: false },
  { name: 'read:profile', description: 'read your member profile', optional: true },
  { name: 'read:data', description: 'read your list', optional: true },
  { name: 'write:data', description: 'add to your list', optional: true },
];

/** Every scope that the demo provider supports on its own; `ProviderSettings.scopes` adds others. */
export const scopeNames: readonly string[] = scopes.map(({ name }) => name);

/** The named scopes in the order of the consent page: first its own ones. */
export function describeScopes(names: Iterable<string>): readonly DemoScope[] {
  const wanted = new Set(names);
  const own = scopes.filter(({ name }) => wanted.has(name));
  for (const { name } of own) wanted.delete(name);
  const others = [...wanted].map((name) => ({ name, description: 'use your API', optional: true }));
  return [...own, ...others];
}
