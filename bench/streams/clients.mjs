import http from 'node:http';
import { pipeline, Readable } from 'node:stream';

const agent = new http.Agent({ maxSockets: Number.POSITIVE_INFINITY });

function createHeaders(browser) {
  const cookie = [...browser.cookies].map(([name, value]) => `${name}=${value}`).join('; ');
  return { host: new URL(browser.deployment.publicOrigin).host, 'sec-fetch-site': 'same-origin', cookie };
}

/**
 * Opens an event stream; resolves at its first event. `ended` then resolves with the time (`performance.now()`) of its
 * end, and `text` is everything received so far.
 */
export function openEvents(browser, instance) {
  return new Promise((resolve, reject) => {
    const headers = { ...createHeaders(browser), accept: 'text/event-stream' };
    const request = http.get({ port: instance.port, path: '/api/events', headers, agent }, (res) => {
      if (res.statusCode !== 200) {
        res.resume();
        return reject(new Error(`the request for an event stream returned ${res.statusCode}`));
      }
      const stream = { text: '' };
      stream.ended = new Promise((done) => {
        res.on('close', () => done(performance.now()));
      });
      res.setEncoding('utf8');
      res.on('error', () => {}); // a broken connection counts as an end
      res.on('data', (text) => {
        stream.text += text;
        resolve(stream);
      });
    });
    request.on('error', reject);
  });
}

/** Downloads a file of `bytes` bytes; resolves with the number of bytes received. */
export function download(browser, instance, bytes) {
  return new Promise((resolve, reject) => {
    const path = `/api/files/big?bytes=${bytes}`;
    http
      .get({ port: instance.port, path, headers: createHeaders(browser), agent }, (res) => {
        let received = 0;
        res.on('data', (chunk) => {
          received += chunk.length;
        });
        res.on('error', reject);
        res.on('end', () => resolve(received));
      })
      .on('error', reject);
  });
}

/** Uploads a file of `bytes` bytes; resolves with the number of bytes the API received. */
export function upload(browser, instance, bytes) {
  const chunk = Buffer.alloc(64 * 1024, 'latchkey');
  function* body() {
    for (let left = bytes; left > 0; left -= chunk.length)
      yield chunk.subarray(0, Math.min(left, chunk.length));
  }
  return new Promise((resolve, reject) => {
    const headers = { ...createHeaders(browser), 'content-length': bytes };
    const options = { port: instance.port, path: '/api/files/big', method: 'PUT', headers, agent };
    const request = http.request(options, async (res) => {
      let text = '';
      for await (const part of res) text += part;
      if (res.statusCode === 200) resolve(JSON.parse(text).bytes);
      else reject(new Error(`the upload returned ${res.statusCode} ${text}`));
    });
    request.on('error', reject);
    pipeline(Readable.from(body()), request, () => {});
  });
}
