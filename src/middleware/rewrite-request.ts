import type { Request, Response } from 'express';

declare global {
  namespace Express {
    interface Request {
      /** The whole body, when it was read already or comes from a saved form; forwarded as it is. */
      bufferedBody?: Buffer;
    }
  }
}

export interface ReplacementRequest {
  readonly method: string;
  /** Path and query on our own origin. */
  readonly url: string;
  readonly contentType: string;
  readonly body: Buffer;
}

/** Turns `req` into another request of the same browser: the cookies, and so the session, stay. */
export function rewriteRequest(req: Request, { method, url, contentType, body }: ReplacementRequest): void {
  req.method = method;
  req.url = url;
  delete req.headers['transfer-encoding'];
  delete req.headers['content-encoding'];
  req.headers['content-type'] = contentType;
  req.headers['content-length'] = String(body.length);
  req.bufferedBody = body;
}

/** Removes the headers that a page needs from a response that will carry API data; the request id stays. */
export function removePageHeaders(res: Response): void {
  for (const name of res.getHeaderNames()) if (name !== 'x-request-id') res.removeHeader(name);
}
