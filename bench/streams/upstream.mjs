// The API of the streams bench, in its own process. Prints its port as one line of JSON, and exits when its standard
// input ends.
//   GET /events     server-sent events: one immediately, then one every 10 s until the client disconnects
//   GET /files/x    ?bytes=n bytes
//   PUT /files/x    counts the bytes received: { "bytes": n }
//   GET /count      the number of open event streams: { "open": n }
import { createServer } from 'node:http';
import { pipeline, Readable } from 'node:stream';

const chunk = Buffer.alloc(64 * 1024, 'latchkey');
let open = 0;

function* generateBytes(total) {
  for (let left = total; left > 0; left -= chunk.length)
    yield chunk.subarray(0, Math.min(left, chunk.length));
}

function sendJson(res, value) {
  res.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(value));
}

function sendEvents(res) {
  open += 1;
  res.writeHead(200, { 'content-type': 'text/event-stream' });
  const sendEvent = () => res.write('data: here\n\n');
  sendEvent();
  const timer = setInterval(sendEvent, 10_000);
  res.on('close', () => {
    open -= 1;
    clearInterval(timer);
  });
}

async function receiveFile(req, res) {
  let received = 0;
  for await (const part of req) received += part.length;
  sendJson(res, { bytes: received });
}

const server = createServer((req, res) => {
  const url = new URL(req.url, 'http://api');
  if (url.pathname === '/events') sendEvents(res);
  else if (url.pathname === '/count') sendJson(res, { open });
  else if (req.method === 'PUT') receiveFile(req, res).catch(() => res.destroy());
  else {
    const length = Number(url.searchParams.get('bytes'));
    res.writeHead(200, { 'content-type': 'application/octet-stream', 'content-length': length });
    pipeline(Readable.from(generateBytes(length)), res, () => {});
  }
});
server.requestTimeout = 0;
server.listen(0, '127.0.0.1', () => console.log(JSON.stringify({ port: server.address().port })));
process.stdin.resume().on('end', () => process.exit());
