import { closeSync, openSync } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { ConfigError } from '../config/load.ts';
import type { Logger } from '../logger.ts';
import { elapsedMs } from '../time/elapsed.ts';
import type { AuditDestination, AuditLine } from './audit-events.ts';

/** Readable for the owner only, because the lines identify users. */
const mode = 0o600;
/** The maximum number of lines that wait for the disk. */
const maxWaitingLines = 2_000;
const problemIntervalMs = 60_000;

/**
 * Appends lines to a file, in order. No request waits for the disk. Lines that cannot be written to the file (the disk
 * is full or too slow, or the file cannot be opened) are written to `log` instead; the next line is written to the file
 * again.
 * @throws ConfigError if the file cannot be opened now
 */
export function openAuditFile(path: string, log: Logger): AuditDestination {
  checkFile(path);
  const fallback = log.child({}, { level: 'info' }); // whatever LOG_LEVEL is
  let waiting: AuditLine[] = [];
  let file: FileHandle | undefined;
  let isReopenRequested = false;
  let isLineIncomplete = false;
  let nextProblemAt = 0;
  let work: Promise<void> | undefined;

  function writeToLog(lines: readonly AuditLine[], error: unknown): void {
    if (elapsedMs() >= nextProblemAt) {
      log.error(
        { err: error, file: path },
        'cannot write the audit log to its file; writing its lines to this log',
      );
      nextProblemAt = elapsedMs() + problemIntervalMs;
    }
    for (const { time: _, ...line } of lines) fallback.info(line, 'audit');
  }

  /** The open file; after `reopen`, the file that now has the path. The old file stays open until the new one is. */
  async function getFile(): Promise<FileHandle> {
    if (file && !isReopenRequested) return file;
    const opened = await open(path, 'a', mode);
    isReopenRequested = false;
    await file?.close().catch(() => undefined);
    file = opened;
    return opened;
  }

  async function writeWaiting(): Promise<void> {
    while (waiting.length > 0 || isReopenRequested) {
      const lines = waiting;
      waiting = [];
      const text = lines.map((line) => `${JSON.stringify(line)}\n`).join('');
      try {
        const target = await getFile();
        // A full disk may have cut off the last line; the next one must not continue it.
        await target.appendFile(isLineIncomplete ? `\n${text}` : text);
        isLineIncomplete = false;
      } catch (error) {
        isLineIncomplete = true;
        isReopenRequested = false;
        writeToLog(lines, error);
        await file?.close().catch(() => undefined);
        file = undefined;
      }
    }
  }

  function start(): void {
    work ??= writeWaiting().finally(() => {
      work = undefined;
    });
  }

  return {
    write(line) {
      if (waiting.length >= maxWaitingLines) {
        writeToLog([line], new Error('the disk is too slow'));
        return;
      }
      waiting.push(line);
      start();
    },

    reopen() {
      isReopenRequested = true;
      start();
    },

    async close() {
      await work;
      await file?.close().catch(() => undefined);
      file = undefined;
    },
  };
}

function checkFile(path: string): void {
  try {
    closeSync(openSync(path, 'a', mode));
  } catch (error) {
    const reason = error instanceof Error && 'code' in error ? error.code : 'unknown error';
    const message = `names a file that cannot be opened for writing (${reason})`;
    throw new ConfigError([{ variable: 'AUDIT_LOG', message }], []);
  }
}
