// The API of the proxy bench, in its own process: responds to every request with the same 1,024 bytes of JSON, which also say
// whether the request had a bearer token. Written on TCP, so that it takes little of the CPU time that the load needs. Prints
// its port as one line of JSON, and exits when its standard input ends.
import { createServer } from 'node:net';

const bodyBytes = 1_024;
const headEnd = '\r\n\r\n';

function createResponse(isAuthorized) {
  const profile = { authorized: isAuthorized, sub: 'user-1', name: 'Alice Liddell', text: '' };
  profile.text = 'x'.repeat(bodyBytes - JSON.stringify(profile).length);
  const head = [
    'HTTP/1.1 200 OK',
    'Content-Type: application/json; charset=utf-8',
    'Cache-Control: no-store',
    `Date: ${new Date().toUTCString()}`,
    `Content-Length: ${bodyBytes}`,
    'Connection: keep-alive',
  ];
  return head.join('\r\n') + headEnd + JSON.stringify(profile);
}

const [withToken, withoutToken] = [true, false].map(createResponse);

const server = createServer((socket) => {
  let received = '';
  socket.setNoDelay(true).setEncoding('latin1');
  socket.on('data', (text) => {
    received += text;
    let responses = '';
    for (let end = received.indexOf(headEnd); end >= 0; end = received.indexOf(headEnd)) {
      responses += /\r\nauthorization: bearer /i.test(received.slice(0, end)) ? withToken : withoutToken;
      received = received.slice(end + headEnd.length);
    }
    if (responses !== '') socket.write(responses, 'latin1');
  });
  socket.on('error', () => socket.destroy());
});
server.listen(0, '127.0.0.1', () => console.log(JSON.stringify({ port: server.address().port })));
process.stdin.resume().on('end', () => process.exit());
