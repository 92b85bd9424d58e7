interface DemoScope {
  readonly name: string;
  /** Whether the user can deny it on the consent page and still sign in. */
  readonly optional: boolean;
}

const scopes: readonly DemoScope[] = [
  { name: 'openid', optional: false },
  { name: 'profile', optional: false },
  { name: 'email', optional: false },
  { name: 'offline_access', optional: false },
  { name: 'read:profile', optional: true },
  { name: 'read:data', optional: true },
  { name: 'write:data', optional: true },
];

/** Every scope that the demo provider supports on its own; `ProviderSettings.scopes` adds others. */
export const scopeNames: readonly string[] = scopes.map(({ name }) => name);

/** The named scopes in the order of the consent page: first its own ones. */
export function describeScopes(names: Iterable<string>): readonly DemoScope[] {
  const wanted = new Set(names);
  const own = scopes.filter(({ name }) => wanted.has(name));
  for (const { name } of own) wanted.delete(name);
  const others = [...wanted].map((name) => ({ name, optional: true }));
  return [...own, ...others];
}
