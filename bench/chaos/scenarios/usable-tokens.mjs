/**
 * Introspects all tokens of these accounts; `active` are those that a client could still use. An access token that was
 * replaced does not count: it has expired for the client, and only this provider's longer lifetime makes it active.
 */
export async function findUsableTokens(provider, accounts) {
  const { checked, active } = await provider.introspectTokens(accounts);
  const newest = new Map((await provider.attempts()).map(({ account, access }) => [account, access]));
  const isReplaced = ({ kind, account, value }) => kind === 'access' && newest.get(account) !== value;
  return { checked, active: active.filter((token) => !isReplaced(token)) };
}

/** For each token, the number of successful revocation requests. */
export function countRevocationsPerToken(revocations) {
  const counts = new Map();
  for (const { token, status } of revocations)
    if (status === 200) counts.set(token, (counts.get(token) ?? 0) + 1);
  return [...counts.values()];
}
