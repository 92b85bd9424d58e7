import { type RequestHandler, Router } from 'express';
import { requireScope } from '../web/guards.ts';
import { allowOnly } from '../web/methods.ts';
import type { ResourceServer } from '../web/proxy.ts';

interface ApiParts {
  readonly apiBaseUrl: URL;
  readonly requireSameOrigin: RequestHandler;
  readonly requireToken: RequestHandler;
  readonly forwardTo: (server: ResourceServer) => RequestHandler;
}

/** `/api/*`: the API behind `OAUTH2_API_BASE_URL`, called with the signed-in person's access token. */
export function createApiRoutes({ apiBaseUrl, requireSameOrigin, requireToken, forwardTo }: ApiParts) {
  const at = (path: string): ResourceServer => ({
    target: new URL(apiBaseUrl.href.replace(/\/$/, '') + path),
    timeoutMs: 10_000,
    bodyLimitBytes: 10 * 1024 * 1024,
  });
  const profile = forwardTo(at('/api/user/profile'));
  const data = forwardTo(at('/api/user/data'));

  const api = Router({ caseSensitive: true, strict: true });
  api.use(requireSameOrigin);
  api.get('/profile', requireToken, profile);
  api.all('/profile', allowOnly('GET', 'HEAD'));
  api.get('/data', requireToken, requireScope('read:data'), data);
  api.post('/data', requireToken, requireScope('write:data'), data);
  api.all('/data', allowOnly('GET', 'HEAD', 'POST'));
  return api;
}
