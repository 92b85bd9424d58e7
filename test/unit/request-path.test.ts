import { EventEmitter } from 'node:events';
import { mkdtempSync, openSync, readFileSync } from 'node:fs';
import { IncomingMessage, ServerResponse } from 'node:http';
import { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { jest } from '@jest/globals';
import express, { type RequestHandler } from 'express';
import { inSequence } from '../../src/in-sequence.ts';
import { collectLines } from '../../src/logger.ts';
import { onResponseClosed } from '../../src/response-closed.ts';
import { createMessageClasses } from '../../src/server/message-classes.ts';
import { createLineOutput } from '../../src/standard-output.ts';

describe('onResponseClosed', () => {
  test('adds one listener for all callers, and calls each of them once', () => {
    const res = new ServerResponse(new IncomingMessage(new Socket()));
    const called: number[] = [];
    for (const n of [1, 2, 3]) onResponseClosed(res, () => called.push(n));
    expect(res.listenerCount('close')).toBe(1);
    res.emit('close');
    res.emit('close');
    expect(called).toEqual([1, 2, 3]);
  });
});

describe('inSequence', () => {
  const run = (...handlers: RequestHandler[]) => {
    const req = {} as Parameters<RequestHandler>[0];
    const ends: unknown[] = [];
    inSequence(...handlers)(req, {} as Parameters<RequestHandler>[1], (error) => void ends.push(error));
    return ends;
  };
  const pass: RequestHandler = (_req, _res, next) => next();

  test('calls one handler after another, then what follows', () => {
    expect(run(pass, pass)).toEqual([undefined]);
    expect(run()).toEqual([undefined]);
  });

  test.each<[string, RequestHandler]>([
    ['is passed to next()', (_req, _res, next) => next(new Error('failed'))],
    [
      'is thrown',
      () => {
        throw new Error('failed');
      },
    ],
  ])('an error that %s skips the handlers behind it', (_what, fail) => {
    const last = jest.fn<RequestHandler>(pass);
    expect(run(pass, fail, last)).toEqual([new Error('failed')]);
    expect(last).not.toHaveBeenCalled();
  });

  test('a handler that responds ends the sequence', () => {
    const last = jest.fn<RequestHandler>(pass);
    expect(run(pass, () => undefined, last)).toEqual([]);
    expect(last).not.toHaveBeenCalled();
  });
});

describe('collectLines', () => {
  const collect = () => {
    const written: string[] = [];
    return { written, lines: collectLines({ write: (text: string) => void written.push(text) }) };
  };

  test('lines of one turn of the event loop are written together, in order', async () => {
    const { written, lines } = collect();
    lines.write('one\n');
    lines.write('two\n');
    expect(written).toEqual([]);
    await new Promise((resolve) => setImmediate(resolve));
    lines.write('three\n');
    await new Promise((resolve) => setImmediate(resolve));
    expect(written).toEqual(['one\ntwo\n', 'three\n']);
  });

  test('no line is lost when more than 1 MiB of lines is written in one turn, as with many long paths', async () => {
    const file = join(mkdtempSync(join(tmpdir(), 'lines-')), 'log');
    const output = createLineOutput(openSync(file, 'w')); // as standard output
    const lines = collectLines(output);
    const line = `${'x'.repeat(15_000)}\n`;
    for (let count = 0; count < 100; count += 1) lines.write(line);
    lines.flush();
    expect(readFileSync(file, 'utf8').split('\n')).toHaveLength(101);
  });

  test('what is left is written at once when the process ends, and only once', async () => {
    const { written, lines } = collect();
    lines.write('last words\n');
    lines.flush();
    expect(written).toEqual(['last words\n']);
    await new Promise((resolve) => setImmediate(resolve));
    expect(written).toHaveLength(1);
  });
});

describe('createMessageClasses', () => {
  test('requests and responses have the prototypes that Express would give them', () => {
    const app = express();
    const classes = createMessageClasses(app);
    const req = new classes.IncomingMessage(new Socket());
    const res = new classes.ServerResponse(req);
    expect(Object.getPrototypeOf(req)).toBe(app.request);
    expect(Object.getPrototypeOf(res)).toBe(app.response);
    expect([req, res].every((each) => each instanceof EventEmitter)).toBe(true);
    expect([req instanceof IncomingMessage, res instanceof ServerResponse]).toEqual([true, true]);
  });

  test('the default headers are sent, except those that were set, and only once', () => {
    const app = express();
    const classes = createMessageClasses(app);
    const req = new classes.IncomingMessage(new Socket());
    const res = Object.assign(new classes.ServerResponse(req), {
      defaultHeaders: ['X-One', 'default', 'X-Two', 'default'],
    });
    res.setHeader('x-two', 'set');
    res.writeHead(200);
    expect(res.getHeaders()).toEqual({ 'x-one': 'default', 'x-two': 'set' });
    expect(res.defaultHeaders).toBeUndefined();
  });
});
