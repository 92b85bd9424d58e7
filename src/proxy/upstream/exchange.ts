import type { IncomingHttpHeaders } from 'node:http';
import type { Dispatcher } from 'undici';
import type { CallAbort } from './call-abort.ts';

/** An API's response. The caller must send, read or discard its body; otherwise its connection is never free again. */
export interface UpstreamResponse {
  readonly statusCode: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: UpstreamBody;
}

/** Receives a body. */
export interface BodySink {
  /** False pauses the body until `UpstreamBody.resume`. */
  write(chunk: Buffer): boolean;
  /** The body is complete. `last` is its last part, if that was not passed to `write`. */
  end(last?: Buffer): void;
  /** The body ended before it was complete. */
  fail(error: Error): void;
}

/** The body of an API's response. Call exactly one of `sendTo`, `read` and `discard`, once. */
export interface UpstreamBody {
  sendTo(sink: BodySink): void;
  resume(): void;
  /** Aborts the response and closes its connection. The sink is not called any more. */
  destroy(): void;
  /** The whole body; rejects if it is longer than `maxBytes` or incomplete. */
  read(maxBytes: number): Promise<Buffer>;
  /** Reads and discards the body, so that its connection can be reused; aborts after 128 KiB or 500 ms. */
  discard(): void;
}

/** How much is buffered before `sendTo` is called, in addition to the buffers of the sockets. */
const maxBufferedBytes = 16_384;
const maxDiscardedBytes = 131_072;
const discardTimeoutMs = 500;

interface ExchangeOptions {
  readonly abort: CallAbort;
  /** Called for each interim response (1xx). */
  readonly onInfo: () => void;
}

/** Sends a request; resolves to the response as soon as its headers have arrived. */
export function dispatchRequest(
  upstream: Dispatcher,
  request: Dispatcher.DispatchOptions,
  { abort, onInfo }: ExchangeOptions,
): Promise<UpstreamResponse> {
  return new Promise((resolve, reject) => {
    const exchange = new Exchange(resolve, reject, onInfo);
    abort.follow(exchange);
    upstream.dispatch(request, exchange);
  });
}

/**
 * One request and its response. The part of the body that arrives together with the headers is buffered until `sendTo`
 * is called, so that a short response is sent in one write. Node.js streams would use a third of the CPU time of a
 * request.
 */
class Exchange implements Dispatcher.DispatchHandler, UpstreamBody {
  #resolve: (response: UpstreamResponse) => void;
  #reject: (error: Error) => void;
  #onInfo: () => void;
  #controller: Dispatcher.DispatchController | undefined;
  #abortReason: Error | undefined;
  #sink: BodySink | undefined;
  #waiting: Buffer[] = [];
  #waitingBytes = 0;
  #hasEnded = false;
  #error: Error | undefined;

  constructor(
    resolve: (response: UpstreamResponse) => void,
    reject: (error: Error) => void,
    onInfo: () => void,
  ) {
    this.#resolve = resolve;
    this.#reject = reject;
    this.#onInfo = onInfo;
  }

  abort(reason: Error): void {
    this.#abortReason = reason;
    this.#controller?.abort(reason);
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    if (this.#abortReason) controller.abort(this.#abortReason);
  }

  onResponseStart(
    controller: Dispatcher.DispatchController,
    statusCode: number,
    headers: IncomingHttpHeaders,
  ): void {
    controller.rawHeaders = null;
    if (statusCode < 200) this.#onInfo();
    else this.#resolve({ statusCode, headers, body: this });
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.#sink) {
      if (!this.#sink.write(chunk)) controller.pause();
      return;
    }
    this.#waiting.push(chunk);
    this.#waitingBytes += chunk.length;
    if (this.#waitingBytes >= maxBufferedBytes) controller.pause();
  }

  onResponseEnd(): void {
    this.#hasEnded = true;
    const sink = this.#sink;
    this.#release();
    sink?.end();
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    this.#error = error;
    this.#reject(error); // without effect after the response
    const sink = this.#sink;
    this.#release();
    sink?.fail(error);
  }

  /**
   * Drops references: undici stores up to 256 completed requests per connection, with all objects that their handlers
   * reference.
   */
  #release(): void {
    this.#sink = undefined;
    this.#controller = undefined;
    this.#resolve = ignore;
    this.#reject = ignore;
    this.#onInfo = ignore;
  }

  sendTo(sink: BodySink): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    if (this.#error) {
      sink.fail(this.#error);
      return;
    }
    const last = this.#hasEnded ? waiting.pop() : undefined;
    if (!this.#hasEnded) this.#sink = sink;
    let canContinue = true;
    for (const chunk of waiting) canContinue = sink.write(chunk);
    if (this.#hasEnded) sink.end(last);
    else if (canContinue) this.resume();
  }

  resume(): void {
    if (this.#controller?.paused) this.#controller.resume();
  }

  destroy(): void {
    this.#sink = { write: () => true, end: () => {}, fail: () => {} };
    this.abort(new Error('the response is not needed any more'));
  }

  read(maxBytes: number): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      const chunks: Buffer[] = [];
      let bytes = 0;
      const write = (chunk: Buffer) => {
        bytes += chunk.length;
        if (bytes > maxBytes) this.abort(new Error(`the response is longer than ${maxBytes} bytes`));
        else chunks.push(chunk);
        return true;
      };
      this.sendTo({
        write,
        end(last) {
          if (last) write(last);
          if (bytes > maxBytes) reject(new Error(`the response is longer than ${maxBytes} bytes`));
          else resolve(Buffer.concat(chunks));
        },
        fail: reject,
      });
    });
  }

  discard(): void {
    if (this.#hasEnded || this.#error) return;
    const timer = setTimeout(() => this.destroy(), discardTimeoutMs).unref();
    let bytes = 0;
    const stop = () => clearTimeout(timer);
    this.sendTo({
      write: (chunk) => {
        bytes += chunk.length;
        if (bytes > maxDiscardedBytes) this.destroy();
        return true;
      },
      end: stop,
      fail: stop,
    });
  }
}

function ignore(): void {}
