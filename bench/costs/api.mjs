// The API of the costs bench, in its own process. Prints its port as one line of JSON, and exits when its standard input ends.
//   GET /files/x      ?bytes=n bytes
//   PUT /files/x      reads the body
//   GET /events       ?bytes=n server-sent events of 1 KB each, n bytes in total, as fast as they are read
//   GET /socket       a WebSocket that sends nothing
import { createHash } from 'node:crypto';
import { createServer } from 'node:http';
import { pipeline, Readable } from 'node:stream';

const chunk = Buffer.alloc(64 * 1024, 'latchkey');
const event = Buffer.from(`data: ${'x'.repeat(1_016)}\n\n`);

function* repeat(part, total) {
  for (let left = total; left > 0; left -= part.length) yield part.subarray(0, Math.min(left, part.length));
}

const server = createServer((req, res) => {
  const url = new URL(req.url, 'http://api');
  const bytes = Number(url.searchParams.get('bytes'));
  const send = (part, headers) => {
    res.writeHead(200, headers);
    pipeline(Readable.from(repeat(part, bytes)), res, () => {});
  };
  if (url.pathname === '/events') send(event, { 'content-type': 'text/event-stream' });
  else if (req.method === 'GET')
    send(chunk, { 'content-type': 'application/octet-stream', 'content-length': bytes });
  else req.resume().on('end', () => res.writeHead(204).end());
});
server.on('upgrade', (req, socket) => {
  const key = `${req.headers['sec-websocket-key']}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`;
  const accept = createHash('sha1').update(key).digest('base64');
  socket.on('error', () => socket.destroy());
  socket.write(
    `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`,
  );
});
server.listen({ port: 0, host: '127.0.0.1', backlog: 4_096 }, () =>
  console.log(JSON.stringify({ port: server.address().port })),
);
process.stdin.resume().on('end', () => process.exit());
