import { createServer } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';

/**
 * The API behind the app. It accepts an access token that the provider has not revoked, until `settings.apiSlackMs`
 * after the expiry that the provider sent the client. `?wait=<ms>` delays the response.
 */
export function createResourceServer(provider, ledger, settings) {
  return createServer(async (req, res) => {
    const url = new URL(req.url, 'http://api');
    const value = /^Bearer (.+)$/.exec(req.headers.authorization ?? '')?.[1] ?? '';
    const token = ledger.tokens.get(value);
    const isValid =
      token !== undefined &&
      Date.now() < token.clientExpiresAt + settings.apiSlackMs &&
      (await provider.AccessToken.find(value)) !== undefined;
    if (!isValid) {
      res.writeHead(401, { 'content-type': 'application/json', 'www-authenticate': 'Bearer' });
      res.end('{"error":"invalid_token"}');
      return;
    }
    token.usedAt ??= Date.now();
    if (url.searchParams.has('wait')) await delay(Number(url.searchParams.get('wait')));
    res.writeHead(200, { 'content-type': 'application/json' });
    res.end(JSON.stringify({ sub: token.account }));
  });
}
