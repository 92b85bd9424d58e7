import type { Request, Response } from 'express';

declare global {
  namespace Express {
    interface Request {
      /** The whole body, if it has been read already or comes from a saved form; it is forwarded unchanged. */
      bufferedBody?: Buffer;
    }
  }
}

export interface ReplacementRequest {
  readonly method: string;
  /** Path and query on our origin. */
  readonly url: string;
  /** '' without a body. */
  readonly contentType: string;
  readonly body: Buffer;
}

/** Turns `req` into another request of the same browser. The cookies stay, and with them the session. */
export function rewriteRequest(req: Request, { method, url, contentType, body }: ReplacementRequest): void {
  req.method = method;
  req.url = url;
  delete req.headers['transfer-encoding'];
  delete req.headers['content-encoding'];
  if (contentType === '') delete req.headers['content-type'];
  else req.headers['content-type'] = contentType;
  req.headers['content-length'] = String(body.length);
  req.bufferedBody = body;
}

/** Removes the headers of a page from a response that becomes an API response. */
export function removePageHeaders(res: Response): void {
  for (const name of res.getHeaderNames()) res.removeHeader(name);
}
