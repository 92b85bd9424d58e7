/** From the provider's answer to the write in Redis: longer than this, and a kill does not explain the loss. */
const longestWriteMs = 2000;

/** A grant nobody ever used: its access token was not seen at the API, its refresh token not at the provider. */
function isUnused(grant, attempts, tokensByValue) {
  return (
    tokensByValue.get(grant.access)?.usedAt === undefined &&
    !attempts.some(({ spent }) => spent === grant.refresh)
  );
}

/** What befell the process while it had this grant under way: `kill`, `pause` or undefined. */
function disturbance(grant, instances) {
  const { history } = instances.find(({ name }) => name === grant.via);
  const from = grant.at - 10;
  const to = (grant.answeredAt ?? grant.lostAt ?? grant.at) + longestWriteMs;
  const during = (act) => history.find((each) => each.act === act && each.at >= from && each.at <= to);
  return during('kill') ?? during('pause') ?? pausedAll(history, grant);
}

/** The process stood still when the request was under way already. */
function pausedAll(history, grant) {
  return history.findLast(({ act, at }, index) => {
    const resumed = history.slice(index).find((each) => each.act === 'resume');
    return act === 'pause' && at <= grant.at && resumed && resumed.at >= grant.at;
  });
}

/** When the process that spent the token once more had stood still just before: it asked with what it had read before. */
function wokeBefore(refused, instances) {
  const { history } = instances.find(({ name }) => name === refused.via);
  return history.findLast(
    ({ act, at }) => act === 'resume' && at <= refused.at && at >= refused.at - longestWriteMs,
  );
}

/**
 * Why a person was logged out: the provider's own account of the family says which grant had spent the refresh token
 * that was refused, and the bench knows what it did to the process that this grant was answered to.
 */
export function explain(account, attempts, tokens, instances) {
  const tokensByValue = new Map(tokens.map((each) => [each.value, each]));
  const own = attempts.filter((each) => each.account === account);
  const refused =
    own.findLast((each) => each.isReuse) ?? own.find(({ outcome }) => outcome === 'invalid_grant');
  if (!refused) return { account, kind: 'unexplained', story: 'the provider never refused this family' };
  const grant = own.find((each) => each.outcome === 'granted' && each.spent === refused.spent);
  const story = `refused to ${refused.via} (${refused.detail})`;
  if (!grant) return { account, kind: 'unexplained', story };
  const befell = disturbance(grant, instances);
  const spentBy = `${story}; spent ${refused.at - grant.at} ms before by ${grant.via}`;
  const woke = wokeBefore(refused, instances);
  // Whoever asked next, an answer that was lost with its process was lost before that.
  if (befell?.act !== 'kill' && woke && woke.at > grant.at)
    return {
      account,
      kind: 'paused',
      story: `${spentBy}; ${refused.via} had woken ${refused.at - woke.at} ms before`,
    };
  if (!befell) return { account, kind: 'unexplained', story: `${spentBy}, which was left alone` };
  const answered = grant.answeredAt
    ? `answered ${grant.answeredAt - grant.at} ms after`
    : 'its answer did not go out';
  const use = isUnused(grant, attempts, tokensByValue) ? 'never used' : 'used all the same';
  const told = `${spentBy}, ${answered}, ${use}; ${befell.act} at ${befell.at - grant.at} ms`;
  if (befell.act === 'pause') return { account, kind: 'paused', story: told };
  return { account, kind: use === 'never used' ? 'killed' : 'unexplained', story: told };
}

/** Grants answered to a process that was killed, or stood still, and that nobody ever used; by what befell it. */
export function lostGrants(attempts, tokens, instances) {
  const tokensByValue = new Map(tokens.map((each) => [each.value, each]));
  const spent = new Set(attempts.map((each) => each.spent));
  const lost = { killed: 0, paused: 0 };
  for (const grant of attempts) {
    if (grant.outcome !== 'granted' || grant.type !== 'refresh_token') continue;
    if (spent.has(grant.refresh) || tokensByValue.get(grant.access)?.usedAt !== undefined) continue;
    const act = disturbance(grant, instances)?.act;
    if (act === 'kill') lost.killed += 1;
    else if (act === 'pause') lost.paused += 1;
  }
  return lost;
}
