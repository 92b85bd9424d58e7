import { PassThrough } from 'node:stream';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import type { Request } from 'express';
import { readRequestBody } from '../../src/proxy/request-body.ts';

/** A POST request, to whose body the test writes. */
function createRequest(contentLength: number) {
  const body = new PassThrough();
  const headers = { 'content-length': String(contentLength) };
  const req = Object.assign(body, { method: 'POST', headers }) as unknown as Request;
  const options = { limitBytes: 1_000_000, timeoutMs: 10_000, abort: () => undefined };
  return { body, read: () => readRequestBody(req, options) };
}

test('a small body is read whole, in whatever pieces it arrives', async () => {
  const text = 'a small body, byte by byte';
  const { body, read } = createRequest(text.length);
  const result = read();
  for (const each of text) body.write(each);
  body.end();
  expect(String(await result)).toBe(text);
});

test('pieces of a small body are not kept: each takes hundreds of bytes, however small it is', async () => {
  setFlagsFromString('--expose-gc');
  const collectGarbage: () => void = runInNewContext('gc');
  const { body, read } = createRequest(1_000);
  const result = read();
  const pieces = Array.from({ length: 100 }, () => {
    const piece = Buffer.from(new ArrayBuffer(1));
    body.write(piece);
    return new WeakRef(piece);
  });
  await nextTurn();
  collectGarbage();
  const kept = pieces.filter((each) => each.deref() !== undefined);
  expect(kept.length).toBeLessThan(10); // the stream may refer to its last pieces
  body.destroy();
  await expect(result).rejects.toThrow();
});
