import type { Socket } from 'node:net';

const empty: Buffer = Buffer.alloc(0);
/** The beginning of a response with an interim status (RFC 9110 15.2), other than 101, which ends the use of HTTP. */
const interimStatus = /^HTTP\/1\.[01] 1(?!01)\d\d/;
const statusLineBytes = 'HTTP/1.1 100'.length;
const maxInterimBytes = 16_384;

/**
 * Removes `100 Continue` before undici reads it. undici asks for none, so it takes one for an error and closes the connection, but
 * a client has to accept it at any time (RFC 9110 15.2), and some APIs send it for every upload.
 */
export function ignoreUnaskedContinue(socket: Socket): void {
  const { write, read } = socket;
  /** True from when a request is sent until the first byte of its final response: only there can an interim response begin. */
  let isAwaitingResponse = false;
  /** The beginning of an interim response, the rest of which has not arrived. */
  let incomplete = empty;

  Object.assign(socket, {
    write(...args: readonly unknown[]) {
      // undici sends the head of a request as text, in one piece, and no other request before the response has ended.
      if (typeof args[0] === 'string' && args[0].includes(' HTTP/1.1\r\n')) isAwaitingResponse = true;
      return Reflect.apply(write, socket, args);
    },
  });

  function removeContinue(arrived: Buffer): Buffer {
    let rest: Buffer = incomplete.length > 0 ? Buffer.concat([incomplete, arrived]) : arrived;
    const passed: Buffer[] = [];
    incomplete = empty;
    while (rest.length > 0) {
      const start = rest.toString('latin1', 0, statusLineBytes);
      if (start.length === statusLineBytes && !interimStatus.test(start)) {
        isAwaitingResponse = false;
        break;
      }
      const end = rest.indexOf('\r\n\r\n');
      if (end < 0) {
        if (rest.length > maxInterimBytes) break;
        incomplete = rest;
        rest = empty;
        break;
      }
      if (!start.endsWith('100')) passed.push(rest.subarray(0, end + 4));
      rest = rest.subarray(end + 4);
    }
    return passed.length > 0 ? Buffer.concat([...passed, rest]) : rest;
  }

  socket.read = (size) => {
    if (size !== undefined) return read.call(socket, size); // Node.js itself
    for (;;) {
      const chunk: unknown = read.call(socket);
      if (!isAwaitingResponse || !Buffer.isBuffer(chunk)) return chunk;
      const left = removeContinue(chunk);
      if (left.length > 0) return left;
    }
  };
}
