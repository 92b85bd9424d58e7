/** Max. time from the provider's response to the write in Redis: a kill after that does not explain a lost grant. */
const maxWriteMs = 2000;

/** Whether neither token of a grant was ever sent: the access token to the API, the refresh token to the provider. */
function isUnused(grant, attempts, tokensByValue) {
  return (
    tokensByValue.get(grant.access)?.usedAt === undefined &&
    !attempts.some(({ sentRefreshToken }) => sentRefreshToken === grant.refresh)
  );
}

/**
 * The entry of the process's history (`kill` or `pause`) that fell within this grant; undefined when there is none. A
 * process that was paused has as much time to write after its pause, so a kill in this time explains the loss too.
 */
function findDisturbance(grant, instances) {
  const { history } = instances.find(({ name }) => name === grant.via);
  const from = grant.at - 10;
  const until = (to) => (act) => history.find((each) => each.act === act && each.at >= from && each.at <= to);
  const during = until((grant.respondedAt ?? grant.lostAt ?? grant.at) + maxWriteMs);
  const pause = during('pause') ?? findPauseAt(grant.at, history);
  const resume = pause && history.find(({ act, at }) => act === 'resume' && at >= pause.at);
  return during('kill') ?? (resume && until(resume.at + maxWriteMs)('kill')) ?? pause;
}

/** The pause during which the process's request reached the provider. */
function findPauseAt(time, history) {
  return history.findLast(({ act, at }, index) => {
    const resumed = history.slice(index).find((each) => each.act === 'resume');
    return act === 'pause' && at <= time && resumed && resumed.at >= time;
  });
}

/** The resume just before the refused request: the process had read the refresh token before its pause. */
function findResumeBefore(refused, instances) {
  const { history } = instances.find(({ name }) => name === refused.via);
  return history.findLast(
    ({ act, at }) => act === 'resume' && at <= refused.at && at >= refused.at - maxWriteMs,
  );
}

/**
 * Why a user was logged out. The ledger shows which grant had consumed the refresh token that the provider refused, and
 * the history of the process that made this grant shows whether it was killed or paused meanwhile.
 */
export function explainLogout(account, attempts, tokens, instances) {
  const tokensByValue = new Map(tokens.map((each) => [each.value, each]));
  const own = attempts.filter((each) => each.account === account);
  const refused =
    own.findLast((each) => each.isReuse) ?? own.find(({ outcome }) => outcome === 'invalid_grant');
  const result = (kind, explanation) => ({ account, kind, explanation });
  if (!refused) return result('unexplained', 'the provider never refused this family');
  const grant = own.find(
    (each) => each.outcome === 'granted' && each.sentRefreshToken === refused.sentRefreshToken,
  );
  const refusal = `provider refused ${refused.via} (${refused.detail})`;
  if (!grant) return result('unexplained', refusal);
  const disturbance = findDisturbance(grant, instances);
  const reuse = `${refusal}; token already used ${refused.at - grant.at} ms before by ${grant.via}`;
  const resume = findResumeBefore(refused, instances);
  // A response that was lost with a killed process comes first: it was lost before any later request.
  if (disturbance?.act !== 'kill' && resume && resume.at > grant.at)
    return result('paused', `${reuse}; ${refused.via} had been resumed ${refused.at - resume.at} ms before`);
  const response = grant.respondedAt
    ? `response sent after ${grant.respondedAt - grant.at} ms`
    : 'response not sent';
  if (!disturbance)
    return result('unexplained', `${reuse}, which was neither killed nor paused, ${response}`);
  const isNeverUsed = isUnused(grant, attempts, tokensByValue);
  const explanation = `${reuse}, ${response}, new tokens ${isNeverUsed ? 'never used' : 'used'}; ${disturbance.act} at ${disturbance.at - grant.at} ms`;
  if (disturbance.act === 'pause') return result('paused', explanation);
  return result(isNeverUsed ? 'killed' : 'unexplained', explanation);
}

/** Counts the grants of killed and of paused processes whose tokens were never used. */
export function countLostGrants(attempts, tokens, instances) {
  const tokensByValue = new Map(tokens.map((each) => [each.value, each]));
  const sent = new Set(attempts.map((each) => each.sentRefreshToken));
  const lost = { killed: 0, paused: 0 };
  for (const grant of attempts) {
    if (grant.outcome !== 'granted' || grant.type !== 'refresh_token') continue;
    if (sent.has(grant.refresh) || tokensByValue.get(grant.access)?.usedAt !== undefined) continue;
    const act = findDisturbance(grant, instances)?.act;
    if (act === 'kill') lost.killed += 1;
    else if (act === 'pause') lost.paused += 1;
  }
  return lost;
}
