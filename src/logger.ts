import { type DestinationStream, type Logger, pino, symbols } from 'pino';
import { formatLogLine } from './log-format.ts';
import { currentRequest } from './request-context.ts';
import { openStandardOutput } from './standard-output.ts';

export type { Logger };

interface LoggedError {
  readonly type: string;
  readonly message: string;
  readonly code?: unknown;
  readonly stack?: string | undefined;
  readonly cause?: LoggedError;
}

/**
 * What the log may contain of an error: type, message, code and stack, and the same of its causes. Never its other
 * properties, because libraries attach responses, commands and tokens to errors.
 */
export function describeError(error: unknown, depth = 0): LoggedError {
  if (!(error instanceof Error)) return { type: typeof error, message: 'not an Error' };
  return {
    type: error.name,
    message: error.message,
    ...('code' in error && { code: error.code }),
    stack: error.stack,
    ...(error.cause instanceof Error && depth < 5 && { cause: describeError(error.cause, depth + 1) }),
  };
}

/** Far less than what may wait for a reader, because an output that is full loses a write as a whole. */
const maxCollectedLength = 65_536;

/**
 * `output`, which gets the lines of one turn of the event loop in one write, or in several if they are long. `flush` writes what
 * is left at once; call it when the process ends.
 */
export function collectLines(output: DestinationStream) {
  let lines = '';
  let isScheduled = false;

  function flush(): void {
    if (lines === '') return;
    const written = lines;
    lines = '';
    output.write(written);
  }

  return {
    write(line: string): void {
      if (lines.length + line.length > maxCollectedLength) flush();
      lines += line;
      if (!isScheduled)
        setImmediate(() => {
          isScheduled = false;
          flush();
        });
      isScheduled = true;
    },
    flush,
    flushSync: flush, // which pino calls after a fatal error
  };
}

/** The id of the request, on lines that are written on its behalf by code that does not know it. */
function addRequestId(_line: object, _level: number, logger: Logger): object {
  const request = currentRequest();
  if (!request) return {};
  const bindings: unknown = Reflect.get(logger, symbols.chindingsSym);
  return String(bindings).includes('"reqId"') ? {} : { reqId: request.requestId };
}

/** The time of a line in ISO 8601; that of the last line, if it is the same. */
function createTimestamp(): () => string {
  let at = 0;
  let text = '';
  return () => {
    const now = Date.now();
    if (now !== at) text = `,"time":"${new Date(now).toISOString()}"`;
    at = now;
    return text;
  };
}

/** A logger that writes lines to `destination`, by default standard output: JSON, or text for a terminal. */
export function createLogger(
  level: string,
  destination: DestinationStream = openStandardOutput(),
  format: 'json' | 'pretty' = 'json',
): Logger {
  const options = {
    level,
    base: null,
    timestamp: createTimestamp(),
    formatters: { level: (label: string) => ({ level: label }) },
    serializers: { err: describeError },
    mixin: addRequestId,
  };
  const output =
    format === 'json'
      ? destination
      : { write: (line: string) => void destination.write(formatLogLine(line)) };
  return pino(options, output);
}
