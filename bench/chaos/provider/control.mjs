/** Serves `/_chaos`: POST sets faults and settings, GET returns the counters or a part of the ledger. */
export function createControl(ledger, faults, settings) {
  const views = {
    '/_chaos': () => ledger.counters(),
    '/_chaos/attempts': (query) => ledger.attempts(query.get('account')),
    '/_chaos/tokens': () => ledger.allTokens(),
    '/_chaos/revocations': () => ledger.revocations(),
  };

  return async function control(req, res) {
    const url = new URL(req.url, 'http://provider');
    const view = views[url.pathname];
    if (req.method === 'POST') {
      let body = '';
      for await (const chunk of req) body += chunk;
      const { rules, ...changed } = JSON.parse(body);
      if (rules) faults.set(rules);
      Object.assign(settings, changed);
    }
    res.writeHead(view ? 200 : 404, { 'content-type': 'application/json' });
    res.end(JSON.stringify(view?.(url.searchParams) ?? null));
  };
}
