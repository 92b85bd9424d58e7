#!/usr/bin/env node
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { createInterface } from 'node:readline/promises';
import { parseCommand, type SessionCommand, UsageError, usage } from './cli/arguments.ts';
import { toPrintableJson } from './cli/printable.ts';
import type { Terminal } from './cli/session-command.ts';

/** EX_CONFIG of sysexits.h, as for the server. */
const exitConfig = 78;
const exitUsage = 2;
const noStoreMessage =
  'REDIS_URL is not set: sessions are in the memory of the server, where no other process can see or end them';

const terminal: Terminal = {
  async write(text) {
    if (!process.stdout.write(text)) await once(process.stdout, 'drain');
  },
  report: (message) => void process.stderr.write(`${message}\n`),
  async confirm(question) {
    if (!process.stdin.isTTY) return undefined;
    const lines = createInterface({ input: process.stdin, output: process.stderr });
    const abort = new AbortController();
    lines.once('close', () => abort.abort()); // the end of the input is a no
    const answer = await lines.question(question, { signal: abort.signal }).catch(() => '');
    lines.close();
    return /^y(es)?$/i.test(answer.trim());
  },
};

// The reader has seen enough, such as `head`.
process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 1));
if (process.argv[2] === 'dev') await develop();
else process.exit(await main(process.argv.slice(2)));

async function main(args: readonly string[]): Promise<number> {
  let command: ReturnType<typeof parseCommand>;
  try {
    command = parseCommand(args);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    terminal.report(`latchkey: ${error.message}\n\n${usage.trimEnd()}`);
    return exitUsage;
  }
  if (command !== 'help' && command !== 'version') return runSessionCommand(command);
  await terminal.write(command === 'help' ? usage : `${readVersion()}\n`);
  return 0;
}

/** Runs `latchkey dev`, which is not part of the production image. */
async function develop(): Promise<void> {
  const program = new URL('./demo/dev/main.js', import.meta.url);
  if (existsSync(program)) await import(program.href);
  else {
    terminal.report(
      'latchkey: "dev" is not part of the production image; start the server with: node dist/main.js',
    );
    process.exit(exitUsage);
  }
}

async function runSessionCommand(command: SessionCommand): Promise<number> {
  const { config: readEnvFile } = await import('dotenv');
  const { ConfigError, loadConfig } = await import('./config/load.ts');
  const { AppError } = await import('./errors.ts');
  const { describeError, createLogger } = await import('./logger.ts');
  const { createSessionCommand, exitCodes } = await import('./cli/session-command.ts');
  const { openSessions } = await import('./cli/open-sessions.ts');
  readEnvFile({ quiet: true });
  try {
    const config = loadConfig(process.env);
    if (!config.redis) {
      terminal.report(`latchkey: ${noStoreMessage}`);
      return exitConfig;
    }
    const log = createLogger('warn', { write: reportLogLine });
    const sessions = await openSessions(config, log);
    try {
      return await createSessionCommand({ ...sessions, terminal })(command);
    } finally {
      await sessions.close();
    }
  } catch (error) {
    if (error instanceof ConfigError) terminal.report(error.message);
    else if (error instanceof AppError)
      terminal.report(`latchkey: the session store is unavailable: ${describeError(error.cause).message}`);
    else throw error;
    return error instanceof ConfigError ? exitConfig : exitCodes.failed;
  }
}

function readVersion(): string {
  const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'));
  return String(version);
}

/** Writes a log line for a reader: its message, its facts, and the message of its error. Audit lines stay JSON. */
function reportLogLine(line: string): void {
  const { level: _level, time: _time, msg, err, ...facts } = JSON.parse(line);
  const details = { ...facts, ...(err && { error: err.message }) };
  terminal.report(msg === 'audit' ? line.trimEnd() : `latchkey: ${msg} ${toPrintableJson(details)}`);
}
