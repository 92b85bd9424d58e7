import type { IncomingMessage, Server, ServerResponse } from 'node:http';

/**
 * Sends `100 Continue` only when a handler reads the body, so that clients which wait for it do not upload what will be
 * rejected. Node.js sends it to every request that has `Expect`. Any other expectation gets 417 (RFC 9110 10.1.1).
 */
export function continueWhenRead(server: Server): void {
  server.on('checkExpectation', (_req, res) => {
    res.writeHead(417, { Connection: 'close', 'Content-Length': '0' }).end(); // the body is not read
  });
  server.on('checkContinue', (req: IncomingMessage, res: ServerResponse) => {
    const { shouldKeepAlive } = res;
    res.shouldKeepAlive = false; // after a final response, the body may follow or not (RFC 9110 10.1.1)
    req.once('resume', () => {
      if (res.headersSent) return;
      res.shouldKeepAlive = shouldKeepAlive;
      res.writeContinue();
    });
    server.emit('request', req, res);
  });
}
