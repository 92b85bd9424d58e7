import type { Request, Response } from 'express';
import { AppError } from '../errors.ts';
import { takeDefaultHeaders } from '../middleware/security-headers.ts';
import { hasBody } from '../middleware/unread-bodies.ts';

/** Headers that the app around Latchkey may have set for all responses, and that Latchkey decides on for its own. */
const ownHeaders =
  /^(access-control-.*|content-security-policy(-report-only)?|cross-origin-.*|x-frame-options|x-content-type-options|referrer-policy|cache-control|etag|x-powered-by|permissions-policy)$/;
/** Properties of requests that other middleware uses too (passport: `login`; pino-http: `log`, `id`; Express 4: `query`). */
const ownProperties = ['log', 'id', 'query'] as const;

const consumedMessage =
  'the body of this request was read before it reached Latchkey: mount Latchkey before express.json() and other body parsers, so that the API gets the bytes that the browser sent';

/**
 * Makes a request and its response of the app around Latchkey what they would be in a process of their own: without the
 * properties and headers that the middleware before has set. Cookies that it has set remain. Latchkey responds to the
 * request in any case, so nothing has to be restored.
 */
export function enterFromHost(req: Request, res: Response): void {
  for (const name of ownProperties) Reflect.deleteProperty(req, name);
  // Not deleted, because old versions of passport add `login` to the prototype of all requests.
  const none = { value: undefined, writable: true, configurable: true };
  Object.defineProperties(req, { login: none, tokenSource: none });
  res.locals = Object.create(null);
  for (const name of res.getHeaderNames()) if (ownHeaders.test(name)) res.removeHeader(name);
  sendDefaultHeaders(res);
}

/** Sends the default headers also if middleware of the app around Latchkey has replaced `writeHead` (compression, sessions). */
export function sendDefaultHeaders(res: Response): void {
  const { writeHead } = res;
  Object.assign(res, {
    writeHead(...head: readonly unknown[]) {
      const headers = takeDefaultHeaders(res);
      for (let index = 0; index < headers.length; index += 2) {
        const [name, value] = [headers[index]!, headers[index + 1]!];
        if (!res.hasHeader(name)) res.setHeader(name, value);
      }
      return Reflect.apply(writeHead, res, head);
    },
  });
}

/** True if middleware of the app around Latchkey has read the body, which can then no longer be forwarded. */
export function wasBodyRead(req: Request): boolean {
  return hasBody(req) && req.readableDidRead;
}

export function bodyWasRead(): AppError {
  return new AppError('internal_error', { cause: new Error(consumedMessage) });
}

/** Which proxies the app around Latchkey trusts (`trust proxy`), for which Latchkey has no setting of its own by default. */
export function createHostTrust() {
  let trust: unknown;
  return {
    learn({ app }: Request): void {
      if (typeof app?.get === 'function') trust = app.get('trust proxy fn');
    },
    isTrusted: (address: string, hop: number): boolean =>
      typeof trust === 'function' && Boolean(trust(address, hop)),
  };
}
