import http from 'node:http';

const agent = new http.Agent({ keepAlive: true, maxSockets: 512 });

/**
 * Sends one request over a keep-alive connection; never rejects.
 * @returns {Promise<{ status: number, headers: object, body: string, ms: number, error?: string }>}
 *   status 0 when there was no response; `error` is then the reason
 */
export function sendRequest(url, { method = 'GET', headers = {}, body, timeoutMs = 20_000 } = {}) {
  const startedAt = performance.now();
  return new Promise((resolve) => {
    const finish = (result) =>
      resolve({ headers: {}, body: '', ...result, ms: performance.now() - startedAt });
    const length = body === undefined ? {} : { 'content-length': Buffer.byteLength(body) };
    const request = http.request(url, { method, agent, headers: { ...headers, ...length } }, (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (chunk) => {
        text += chunk;
      });
      response.on('error', (error) => finish({ status: 0, error: error.code ?? error.message }));
      response.on('end', () =>
        finish({ status: response.statusCode, headers: response.headers, body: text }),
      );
    });
    request.setTimeout(timeoutMs, () => request.destroy(new Error('timeout')));
    request.on('error', (error) => finish({ status: 0, error: error.code ?? error.message }));
    request.end(body);
  });
}
