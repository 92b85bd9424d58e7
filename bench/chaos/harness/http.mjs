import http from 'node:http';

const agent = new http.Agent({ keepAlive: true, maxSockets: 512 });

/**
 * One exchange over a kept-alive connection; never rejects.
 * @returns {Promise<{ status: number, headers: object, body: string, ms: number, error?: string }>}
 *   status 0 when there was no answer, and then `error` says why
 */
export function exchange(url, { method = 'GET', headers = {}, body, timeoutMs = 20_000 } = {}) {
  const begun = performance.now();
  return new Promise((resolve) => {
    const done = (answer) => resolve({ headers: {}, body: '', ...answer, ms: performance.now() - begun });
    const length = body === undefined ? {} : { 'content-length': Buffer.byteLength(body) };
    const request = http.request(url, { method, agent, headers: { ...headers, ...length } }, (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (chunk) => {
        text += chunk;
      });
      response.on('error', (error) => done({ status: 0, error: error.code ?? error.message }));
      response.on('end', () => done({ status: response.statusCode, headers: response.headers, body: text }));
    });
    request.setTimeout(timeoutMs, () => request.destroy(new Error('timeout')));
    request.on('error', (error) => done({ status: 0, error: error.code ?? error.message }));
    request.end(body);
  });
}
