// The API of the limits bench, in its own process. Prints its port as one line of JSON, and exits when its standard
// input ends.
//   GET /data          1 KB of JSON
//   GET /unavailable   503
//   GET /slow          never responds
//   GET /events        server-sent events, one a second
//   GET /large         a response of 1 GB
//   GET /ws            WebSocket handshakes; frames are read and not answered
//   anything else      reads the body and responds with 204
import { createHash } from 'node:crypto';
import { createServer } from 'node:http';
import { pipeline, Readable } from 'node:stream';

const record = JSON.stringify({ text: 'x'.repeat(1000) });
const chunk = Buffer.alloc(64 * 1024, 'latchkey');

function* generateBytes(total) {
  for (let left = total; left > 0; left -= chunk.length)
    yield chunk.subarray(0, Math.min(left, chunk.length));
}

const responses = {
  '/data': (res) => res.writeHead(200, { 'content-type': 'application/json' }).end(record),
  '/unavailable': (res) => res.writeHead(503, { 'content-type': 'application/json' }).end('{"error":"off"}'),
  '/slow': () => {},
  '/events': (res) => {
    res.writeHead(200, { 'content-type': 'text/event-stream' });
    const timer = setInterval(() => res.write('data: here\n\n'), 1_000);
    res.on('close', () => clearInterval(timer));
    res.write('data: here\n\n');
  },
  '/large': (res) => {
    res.writeHead(200, { 'content-type': 'application/octet-stream' });
    pipeline(Readable.from(generateBytes(1024 ** 3)), res, () => {});
  },
};

const server = createServer((req, res) => {
  const respond = responses[new URL(req.url, 'http://api').pathname];
  if (respond) respond(res);
  else req.on('end', () => res.writeHead(204).end()).resume();
});
server.on('upgrade', (req, socket) => {
  const key = req.headers['sec-websocket-key'];
  const accept = createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64');
  socket.on('error', () => {});
  socket.write(
    `HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-accept: ${accept}\r\n\r\n`,
  );
  socket.resume();
});
server.listen(0, '127.0.0.1', () => console.log(JSON.stringify({ port: server.address().port })));
process.stdin.on('end', () => process.exit(0)).resume();
