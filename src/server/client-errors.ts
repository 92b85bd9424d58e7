import { type Server, type ServerResponse, STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import type { Logger } from '../logger.ts';

/** How long the client may take to read the response before the connection is closed. */
const lingerMs = 2_000;

/** As Node responds without a listener; every other error is a 400. */
const statuses: Readonly<Record<string, number>> = {
  HPE_HEADER_OVERFLOW: 431,
  HPE_CHUNK_EXTENSIONS_OVERFLOW: 413,
  ERR_HTTP_REQUEST_TIMEOUT: 408,
};

/** In English only and without a view, because the headers that would choose the language could not be read. */
const tooLargePage = `<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>Too many cookies</title></head>
<body>
<h1>Too many cookies</h1>
<p>Your browser sent more data with its request than this site accepts. The cookies that are stored for this site are
probably too many or too large.</p>
<p>Clear the cookies for this site in the settings of your browser, then open the page again. You will have to sign in
again.</p>
</body>
</html>
`;

/**
 * Responds to requests that Node cannot parse, which never reach the app: 431 with a page when the headers are too large,
 * else an empty response as Node itself would send.
 */
export function handleClientErrors(server: Server, log: Logger): void {
  const openResponses = new WeakMap<Socket, Set<ServerResponse>>();
  const failed = new WeakSet<Socket>();

  server.on('request', ({ socket }, res) => {
    const responses = openResponses.get(socket) ?? new Set();
    openResponses.set(socket, responses.add(res));
    res.once('close', () => responses.delete(res));
  });

  server.on('clientError', (error: NodeJS.ErrnoException, duplex) => {
    const socket = duplex as Socket;
    if (failed.has(socket)) return; // Node reports every further chunk of the same request
    failed.add(socket);
    const status = statuses[error.code ?? ''] ?? 400;
    if (status === 431)
      log.warn(
        'request rejected (431): its headers are too large, probably because of too many or too large cookies',
      );
    else log.debug({ code: error.code }, 'connection closed: invalid request or connection error');
    if (socket.bytesRead === 0) {
      socket.destroy(); // opened in advance and not used: a proxy would take a response for that to its next request
      return;
    }
    const responses = [...(openResponses.get(socket) ?? [])];
    if (!socket.writable || responses.some((each) => each.headersSent)) {
      socket.destroy(); // a second response would end up inside the first
      return;
    }
    socket.write(serialize(status, status === 431 ? tooLargePage : ''));
    if (status === 431 && responses.length === 0) closeAfterReading(socket);
    else socket.destroySoon();
  });
}

/** Closing at once, with received data unread, could reset the connection before the client has read the response. */
function closeAfterReading(socket: Socket): void {
  socket.end();
  const closeTimer = setTimeout(() => socket.destroy(), lingerMs);
  socket.once('close', () => clearTimeout(closeTimer));
}

function serialize(status: number, page: string): string {
  return [
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}`,
    'Connection: close',
    `Content-Length: ${Buffer.byteLength(page)}`,
    ...(page === '' ? [] : ['Content-Type: text/html; charset=utf-8']),
    'Cache-Control: no-store',
    "Content-Security-Policy: default-src 'none'; frame-ancestors 'none'",
    'X-Content-Type-Options: nosniff',
    'X-Frame-Options: DENY',
    'Referrer-Policy: same-origin',
    '',
    page,
  ].join('\r\n');
}
