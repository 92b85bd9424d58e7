/**
 * The provider's record of what happened, against which scenarios check their promises: every token request, every
 * token with its family, every revocation request, and the request counts of each second.
 */
export function createLedger(provider) {
  const attempts = [];
  const revocations = [];
  const tokens = new Map();
  const revokedFamilies = new Map();
  const perSecond = new Map();
  let lastId = 0;

  function countsOfThisSecond() {
    const second = Math.floor(Date.now() / 1000);
    let counts = perSecond.get(second);
    if (!counts) {
      counts = { second, token: 0, revocation: 0, refreshed: 0 };
      perSecond.set(second, counts);
    }
    return counts;
  }

  function recordToken(kind, { jti, grantId, accountId }) {
    if (!tokens.has(jti))
      tokens.set(jti, { kind, family: grantId, account: accountId, issuedAt: Date.now() });
  }
  provider.on('access_token.saved', (token) => recordToken('access', token));
  provider.on('refresh_token.saved', (token) => recordToken('refresh', token));

  provider.on('grant.success', ({ req, oidc }) => {
    const { AccessToken, RefreshToken, RotatedRefreshToken } = oidc.entities;
    const previous = tokens.get(RotatedRefreshToken?.jti);
    Object.assign(req.attempt, {
      type: oidc.params.grant_type,
      outcome: 'granted',
      family: AccessToken.grantId,
      account: AccessToken.accountId,
      sentRefreshToken: RotatedRefreshToken?.jti,
      access: AccessToken.jti,
      refresh: RefreshToken?.jti,
      isToleratedReuse: previous?.rotatedAt !== undefined,
    });
    if (previous) {
      previous.rotatedAt ??= Date.now();
      countsOfThisSecond().refreshed += 1;
    }
  });
  provider.on('grant.error', ({ req, oidc }, error) => {
    const sentRefreshToken = oidc?.params?.refresh_token;
    const { family, account } = tokens.get(sentRefreshToken) ?? {};
    Object.assign(req.attempt, {
      type: oidc?.params?.grant_type,
      outcome: error.error,
      detail: error.error_detail,
      isReuse: error.error_detail === 'refresh token already used',
      sentRefreshToken,
      family,
      account,
    });
  });
  provider.on('grant.revoked', (ctx, family) => {
    if (!revokedFamilies.has(family))
      revokedFamilies.set(family, { at: Date.now(), by: ctx.req.attempt ? 'reuse' : 'revocation' });
  });

  return {
    tokens,
    /** Records a request that one process of the app sent to an endpoint (`token` or `revocation`). */
    recordRequest(endpoint, req, res, via) {
      lastId += 1;
      countsOfThisSecond()[endpoint] += 1;
      const entry = { id: lastId, via, at: Date.now() };
      if (endpoint === 'token') req.attempt = entry;
      (endpoint === 'token' ? attempts : revocations).push(entry);
      res.on('close', () => {
        if (res.writableFinished) Object.assign(entry, { status: res.statusCode, respondedAt: Date.now() });
        else entry.lostAt = Date.now(); // the provider may have processed it, but sent no response
      });
      return entry;
    },
    counters() {
      const granted = attempts.filter(({ outcome }) => outcome === 'granted');
      return {
        now: Date.now(),
        grants: {
          authorization_code: granted.filter(({ type }) => type === 'authorization_code').length,
          refresh_token: granted.filter(({ type }) => type === 'refresh_token').length,
        },
        tokenRequests: attempts.length,
        reuseDetections: attempts.filter(({ isReuse }) => isReuse).length,
        toleratedReuses: attempts.filter(({ isToleratedReuse }) => isToleratedReuse).length,
        familiesRevokedByReuse: [...revokedFamilies.values()].filter(({ by }) => by === 'reuse').length,
        revocationRequests: revocations.length,
        lostResponses: granted.filter(({ lostAt }) => lostAt !== undefined).length,
        perSecond: [...perSecond.values()],
      };
    },
    attempts: (account) => attempts.filter((each) => account === null || each.account === account),
    revocations: () => revocations,
    allTokens: () => [...tokens].map(([value, details]) => ({ value, ...details })),
  };
}
