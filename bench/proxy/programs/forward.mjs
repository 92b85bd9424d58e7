import { Pool } from 'undici';

/** Headers that belong to one connection, or that only the server in front of the API needs. */
const notForwarded = new Set([
  ...['connection', 'keep-alive', 'proxy-connection', 'te', 'trailer', 'transfer-encoding', 'upgrade'],
  ...['host', 'cookie', 'authorization'],
]);

/**
 * `forward(req, res, headers)`: sends a GET under `/api` to the API, with these headers in addition, and its response to the
 * browser. `bare`, `floor` and `express` all use this, so that they differ only in what they do before it. It does what a
 * correct proxy cannot omit: headers of the connection, slow clients, clients that disconnect.
 */
export function createForward(apiUrl) {
  const pool = new Pool(apiUrl, { connections: null });
  return function forward(req, res, headers = {}) {
    const path = req.url.slice('/api'.length);
    const request = { method: 'GET', path, headers: { ...forwardedHeaders(req.headers), ...headers } };
    pool.dispatch(request, new Exchange(res));
  };
}

function forwardedHeaders(headers) {
  const forwarded = {};
  for (const name in headers) if (!notForwarded.has(name)) forwarded[name] = headers[name];
  return forwarded;
}

/** One response. Its last part is written together with the end, so that a short response is one write. */
class Exchange {
  #res;
  #last;

  constructor(res) {
    this.#res = res;
  }

  onRequestStart(controller) {
    const res = this.#res;
    res.once('close', () => {
      if (!res.writableFinished) controller.abort(new Error('the client disconnected'));
    });
  }

  onResponseStart(_controller, statusCode, headers) {
    if (statusCode >= 200) this.#res.writeHead(statusCode, forwardedHeaders(headers));
  }

  onResponseData(controller, chunk) {
    const previous = this.#last;
    this.#last = chunk;
    if (previous === undefined || this.#res.write(previous)) return;
    controller.pause();
    this.#res.once('drain', () => controller.resume());
  }

  onResponseEnd() {
    // As a string, which Node.js writes together with the head.
    if (this.#last) this.#res.end(this.#last.toString('latin1'), 'latin1');
    else this.#res.end();
  }

  onResponseError() {
    if (this.#res.headersSent) this.#res.destroy();
    else this.#res.writeHead(502).end();
  }
}
