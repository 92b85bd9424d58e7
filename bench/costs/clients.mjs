import http from 'node:http';
import { connect } from 'node:net';

const agent = new http.Agent({ keepAlive: true, maxSockets: 64 });

export const headersOf = (browser) => ({
  host: new URL(browser.deployment.publicOrigin).host,
  'sec-fetch-site': 'same-origin',
  'sec-fetch-mode': 'cors',
  'sec-fetch-dest': 'empty',
  cookie: [...browser.cookies].map((each) => each.join('=')).join('; '),
});

/** Sends one request and discards the response; resolves to the number of bytes of its body. Rejects unless its status is 2xx. */
export function transfer({ port, path, headers, body }) {
  return new Promise((resolve, reject) => {
    const method = body ? 'PUT' : 'GET';
    const length = body && { 'content-length': body.length };
    const request = http.request(
      { port, path, method, agent, headers: { ...headers, ...length } },
      (response) => {
        let received = 0;
        response.on('data', ({ length: bytes }) => {
          received += bytes;
        });
        response.on('error', reject);
        response.on('end', () =>
          response.statusCode < 300
            ? resolve(received)
            : reject(new Error(`${path}: ${response.statusCode}`)),
        );
      },
    );
    request.on('error', reject);
    request.end(body);
  });
}

/** Opens a WebSocket that sends nothing; resolves to its socket. */
export function openSocket({ port, path, headers }) {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1');
    const lines = Object.entries({
      ...headers,
      upgrade: 'websocket',
      connection: 'Upgrade',
      'sec-websocket-version': '13',
      'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==',
      origin: `http://${headers.host}`,
    }).map(([name, value]) => `${name}: ${value}\r\n`);
    socket.once('data', (data) => {
      if (String(data).startsWith('HTTP/1.1 101')) resolve(socket);
      else reject(new Error(`the handshake failed: ${String(data).split('\r\n')[0]}`));
    });
    socket.on('error', reject);
    socket.write(`GET ${path} HTTP/1.1\r\n${lines.join('')}\r\n`);
  });
}
