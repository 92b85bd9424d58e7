import { fstatSync, type ReadStream } from 'node:fs';
import { sep } from 'node:path';
import type { Request, Response } from 'express';
import send from 'send';
import type { FoundFile } from './find-file.ts';

interface SendOptions {
  readonly file: FoundFile;
  /** The `ETag`; without one, it is derived from size and time, and `Last-Modified` is sent too. */
  readonly etag: string | undefined;
  readonly acceptRanges: boolean;
}

/**
 * Sends a file with `send`. Rejects if it cannot be read. The response is cut off if the file is not the one that was found,
 * or became shorter while it was sent, because a deployment replaces it: the length of the response was announced, and a part
 * of a file must not look complete.
 */
export function sendFile(
  req: Request,
  res: Response,
  { file, etag, acceptRanges }: SendOptions,
): Promise<void> {
  if (etag !== undefined) res.setHeader('ETag', etag);
  // A weak tag never matches here (RFC 9110 13.1.5), and all of ours are weak.
  if (!acceptRanges || /^(W\/)?"/.test(String(req.headers['if-range'] ?? ''))) delete req.headers.range;
  return new Promise((resolve, reject) => {
    res.once('close', resolve);
    send(req, encodePath(file.path), {
      acceptRanges,
      cacheControl: false,
      dotfiles: 'allow',
      index: false,
      lastModified: etag === undefined,
    })
      .on('stream', (stream: ReadStream) => watch(stream, file, res))
      .on('error', (error: Error & { status?: number; headers?: Record<string, string> }) => {
        if (error.status !== 416 && error.status !== 412) return reject(error);
        for (const name of ['Content-Encoding', 'Content-Length', 'Content-Type']) res.removeHeader(name);
        res
          .status(error.status)
          .set(error.headers ?? {})
          .end();
      })
      .pipe(res);
  });
}

/** Absolute; `send` decodes it. */
function encodePath(path: string): string {
  return path.split(sep).map(encodeURIComponent).join('/');
}

function watch(stream: ReadStream, { stats }: FoundFile, res: Response): void {
  const length = Number(res.getHeader('Content-Length'));
  stream.once('open', (descriptor) => {
    const opened = fstatSync(descriptor);
    const isSame = opened.ino === stats.ino && opened.size === stats.size && opened.mtimeMs === stats.mtimeMs;
    if (!isSame) res.destroy();
  });
  // Before the listener of `pipe`, which ends the response.
  stream.once('end', () => {
    if (stream.bytesRead < length) res.destroy();
  });
}
