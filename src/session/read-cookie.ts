import { parse } from 'cookie';
import type { Request } from 'express';

/** The value of the cookie `name`; the first if the browser sent several. */
export function readCookie(req: Request, name: string): string | undefined {
  const header = req.headers.cookie;
  return header === undefined ? undefined : parse(header)[name];
}
