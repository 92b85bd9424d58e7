/**
 * What the provider saw and did, for the scenarios to judge by: every attempt at the token endpoint, every token with
 * its family, every revocation, and requests per second.
 */
export function createLedger(provider) {
  const attempts = [];
  const revocations = [];
  const tokens = new Map();
  const familiesRevoked = new Map();
  const perSecond = new Map();
  let lastId = 0;

  function inThisSecond() {
    const second = Math.floor(Date.now() / 1000);
    let counts = perSecond.get(second);
    if (!counts) {
      counts = { second, token: 0, revocation: 0, refreshed: 0 };
      perSecond.set(second, counts);
    }
    return counts;
  }

  function remember(kind, { jti, grantId, accountId }) {
    if (!tokens.has(jti))
      tokens.set(jti, { kind, family: grantId, account: accountId, issuedAt: Date.now() });
  }
  provider.on('access_token.saved', (token) => remember('access', token));
  provider.on('refresh_token.saved', (token) => remember('refresh', token));

  provider.on('grant.success', ({ req, oidc }) => {
    const { AccessToken, RefreshToken, RotatedRefreshToken } = oidc.entities;
    const spent = tokens.get(RotatedRefreshToken?.jti);
    Object.assign(req.attempt, {
      type: oidc.params.grant_type,
      outcome: 'granted',
      family: AccessToken.grantId,
      account: AccessToken.accountId,
      spent: RotatedRefreshToken?.jti,
      access: AccessToken.jti,
      refresh: RefreshToken?.jti,
      isForgiven: spent?.spentAt !== undefined,
    });
    if (spent) {
      spent.spentAt ??= Date.now();
      inThisSecond().refreshed += 1;
    }
  });
  provider.on('grant.error', ({ req, oidc }, error) => {
    const spent = oidc?.params?.refresh_token;
    const { family, account } = tokens.get(spent) ?? {};
    Object.assign(req.attempt, {
      type: oidc?.params?.grant_type,
      outcome: error.error,
      detail: error.error_detail,
      isReuse: error.error_detail === 'refresh token already used',
      spent,
      family,
      account,
    });
  });
  provider.on('grant.revoked', (ctx, family) => {
    if (!familiesRevoked.has(family))
      familiesRevoked.set(family, { at: Date.now(), by: ctx.req.attempt ? 'reuse' : 'revocation' });
  });

  return {
    tokens,
    /** A request to an endpoint (`token` or `revocation`) that one process of the app sent. */
    arrived(endpoint, req, res, via) {
      lastId += 1;
      inThisSecond()[endpoint] += 1;
      const seen = { id: lastId, via, at: Date.now() };
      if (endpoint === 'token') req.attempt = seen;
      (endpoint === 'token' ? attempts : revocations).push(seen);
      res.on('close', () => {
        if (res.writableFinished) Object.assign(seen, { status: res.statusCode, answeredAt: Date.now() });
        else seen.lostAt = Date.now(); // whatever was done, the answer did not go out
      });
      return seen;
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
        forgivenReuses: attempts.filter(({ isForgiven }) => isForgiven).length,
        familiesRevokedByReuse: [...familiesRevoked.values()].filter(({ by }) => by === 'reuse').length,
        revocationRequests: revocations.length,
        answersLost: granted.filter(({ lostAt }) => lostAt !== undefined).length,
        perSecond: [...perSecond.values()],
      };
    },
    attempts: (account) => attempts.filter((each) => account === null || each.account === account),
    revocations: () => revocations,
    allTokens: () => [...tokens].map(([value, about]) => ({ value, ...about })),
  };
}
