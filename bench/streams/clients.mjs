import http from 'node:http';
import { pipeline, Readable } from 'node:stream';

const agent = new http.Agent({ maxSockets: Number.POSITIVE_INFINITY });

function headersOf(browser) {
  const cookie = [...browser.cookies].map(([name, value]) => `${name}=${value}`).join('; ');
  return { host: new URL(browser.world.publicOrigin).host, 'sec-fetch-site': 'same-origin', cookie };
}

/**
 * An event stream that is open: settles with its first event; then `ended` settles with the time (`performance.now()`)
 * when it ended, and `text` is what came.
 */
export function openEvents(browser, instance) {
  return new Promise((resolve, reject) => {
    const headers = { ...headersOf(browser), accept: 'text/event-stream' };
    const request = http.get({ port: instance.port, path: '/api/events', headers, agent }, (res) => {
      if (res.statusCode !== 200) {
        res.resume();
        return reject(new Error(`an event stream was answered ${res.statusCode}`));
      }
      const stream = { text: '' };
      stream.ended = new Promise((done) => {
        res.on('close', () => done(performance.now()));
      });
      res.setEncoding('utf8');
      res.on('error', () => {}); // a cut is an end, too
      res.on('data', (text) => {
        stream.text += text;
        resolve(stream);
      });
    });
    request.on('error', reject);
  });
}

/** The number of bytes that came down. */
export function download(browser, instance, bytes) {
  return new Promise((resolve, reject) => {
    const path = `/api/files/big?bytes=${bytes}`;
    http
      .get({ port: instance.port, path, headers: headersOf(browser), agent }, (res) => {
        let arrived = 0;
        res.on('data', (part) => {
          arrived += part.length;
        });
        res.on('error', reject);
        res.on('end', () => resolve(arrived));
      })
      .on('error', reject);
  });
}

/** The number of bytes that arrived at the API. */
export function upload(browser, instance, bytes) {
  const chunk = Buffer.alloc(64 * 1024, 'latchkey');
  function* body() {
    for (let left = bytes; left > 0; left -= chunk.length)
      yield chunk.subarray(0, Math.min(left, chunk.length));
  }
  return new Promise((resolve, reject) => {
    const headers = { ...headersOf(browser), 'content-length': bytes };
    const to = { port: instance.port, path: '/api/files/big', method: 'PUT', headers, agent };
    const request = http.request(to, async (res) => {
      let text = '';
      for await (const part of res) text += part;
      if (res.statusCode === 200) resolve(JSON.parse(text).bytes);
      else reject(new Error(`the upload was answered ${res.statusCode} ${text}`));
    });
    request.on('error', reject);
    pipeline(Readable.from(body()), request, () => {});
  });
}
