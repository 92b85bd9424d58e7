import { createServer } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';

/**
 * The API behind the app. A token is good while the provider's own store holds it and its announced time is not over
 * for longer than `settings.apiSlackMs`, so a revoked token is refused at once. `?wait=ms` answers late.
 */
export function createResourceServer(provider, ledger, settings) {
  return createServer(async (req, res) => {
    const url = new URL(req.url, 'http://api');
    const value = /^Bearer (.+)$/.exec(req.headers.authorization ?? '')?.[1] ?? '';
    const known = ledger.tokens.get(value);
    const isAlive =
      known !== undefined &&
      Date.now() < known.announcedUntil + settings.apiSlackMs &&
      (await provider.AccessToken.find(value)) !== undefined;
    if (!isAlive) {
      res.writeHead(401, { 'content-type': 'application/json', 'www-authenticate': 'Bearer' });
      res.end('{"error":"invalid_token"}');
      return;
    }
    known.usedAt ??= Date.now();
    if (url.searchParams.has('wait')) await delay(Number(url.searchParams.get('wait')));
    res.writeHead(200, { 'content-type': 'application/json' });
    res.end(JSON.stringify({ sub: known.account }));
  });
}
