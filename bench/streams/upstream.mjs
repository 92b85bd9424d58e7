// The API behind the bench, in a process of its own; prints its port as one line of JSON and ends with its standard input.
//   GET /events     server-sent events, one at once and then one every 10 s, until somebody leaves
//   GET /files/x    as many bytes as ?bytes= says
//   PUT /files/x    counts what arrives: { "bytes": n }
//   GET /count      the event streams that are open: { "open": n }
import { createServer } from 'node:http';
import { pipeline, Readable } from 'node:stream';

const chunk = Buffer.alloc(64 * 1024, 'latchkey');
let open = 0;

function* bytes(total) {
  for (let left = total; left > 0; left -= chunk.length)
    yield chunk.subarray(0, Math.min(left, chunk.length));
}

function json(res, value) {
  res.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(value));
}

function events(res) {
  open += 1;
  res.writeHead(200, { 'content-type': 'text/event-stream' });
  const tell = () => res.write('data: here\n\n');
  tell();
  const timer = setInterval(tell, 10_000);
  res.on('close', () => {
    open -= 1;
    clearInterval(timer);
  });
}

async function count(req, res) {
  let arrived = 0;
  for await (const part of req) arrived += part.length;
  json(res, { bytes: arrived });
}

const server = createServer((req, res) => {
  const url = new URL(req.url, 'http://api');
  if (url.pathname === '/events') events(res);
  else if (url.pathname === '/count') json(res, { open });
  else if (req.method === 'PUT') count(req, res).catch(() => res.destroy());
  else {
    const length = Number(url.searchParams.get('bytes'));
    res.writeHead(200, { 'content-type': 'application/octet-stream', 'content-length': length });
    pipeline(Readable.from(bytes(length)), res, () => {});
  }
});
server.requestTimeout = 0;
server.listen(0, '127.0.0.1', () => console.log(JSON.stringify({ port: server.address().port })));
process.stdin.resume().on('end', () => process.exit());
