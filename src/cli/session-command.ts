import type { SessionTags } from '../crypto/session-tag.ts';
import { AppError } from '../errors.ts';
import { describeError } from '../logger.ts';
import type { SessionIndex } from '../tokens/indexed-sessions.ts';
import type { UserSessionEntry } from '../tokens/session-list.ts';
import type { TokenManager } from '../tokens/token-manager.ts';
import type { Selection, SessionCommand } from './arguments.ts';
import { toPrintable, toPrintableJson } from './printable.ts';
import { describe, listHeading, type SessionDetails, summarize, toBlock, toLine } from './session-output.ts';

/** The standard streams of the command. */
export interface Terminal {
  /** Writes to standard output; resolves when the caller may write more. */
  write(text: string): Promise<void>;
  /** Writes a line to standard error. */
  report(message: string): void;
  /** Asks the operator; `undefined` without a terminal. */
  confirm(question: string): Promise<boolean | undefined>;
}

interface SessionCommandParts {
  readonly tokens: Pick<
    TokenManager,
    'sessionsOf' | 'allSessions' | 'peek' | 'endsAt' | 'endBy' | 'endAllOf'
  >;
  readonly sessionIndex: Pick<SessionIndex, 'all'>;
  readonly sessionTags: SessionTags;
  readonly terminal: Terminal;
}

export const exitCodes = { done: 0, failed: 1, notConfirmed: 2, noSession: 3 } as const;
type ExitCode = (typeof exitCodes)[keyof typeof exitCodes];

/** How many sessions `end --all` ends at the same time. */
const maxConcurrentEnds = 10;

/** Returns a function that runs a command. It rejects with `AppError` if the store is unavailable. */
export function createSessionCommand(parts: SessionCommandParts) {
  const { tokens, sessionIndex, sessionTags, terminal } = parts;

  /** Reads only the index, which is much faster than reading every record. */
  async function findByTag(tag: string): Promise<string | undefined> {
    for await (const { id } of sessionIndex.all()) if (sessionTags.isTagOf(tag, id)) return id;
    return undefined;
  }

  const unreadable: unknown[] = [];
  const reportUnreadable = (error: unknown) => void unreadable.push(error);

  async function* select(selection: Selection): AsyncGenerator<UserSessionEntry> {
    if (selection.kind === 'subject') {
      yield* await tokens.sessionsOf(selection.sub, Number.POSITIVE_INFINITY, reportUnreadable);
      return;
    }
    const seen = new Set<string>(); // an entry may appear twice
    const isSelected = ({ id }: UserSessionEntry) =>
      selection.kind === 'all' || sessionTags.isTagOf(selection.tag, id);
    for await (const each of tokens.allSessions(reportUnreadable)) {
      if (seen.has(each.id) || !isSelected(each)) continue;
      yield each;
      if (selection.kind === 'session') return;
      seen.add(each.id);
    }
  }

  async function* readDetails(selection: Selection): AsyncGenerator<SessionDetails> {
    for await (const entry of select(selection)) {
      const { id } = entry;
      const [record, endsAt] = await Promise.all([tokens.peek(id), tokens.endsAt(id)]);
      if (record) yield describe(summarize(sessionTags.tagFor(id), entry), record, endsAt);
    }
  }

  async function* readSummaries(selection: Selection) {
    for await (const entry of select(selection)) yield summarize(sessionTags.tagFor(entry.id), entry);
  }

  /** Prints `items` as they arrive, as JSON in one array; returns their number. */
  async function print<T>(
    items: AsyncIterable<T>,
    { asJson, heading = '', toText }: PrintOptions<T>,
  ): Promise<number> {
    let count = 0;
    for await (const item of items) {
      if (asJson) await terminal.write(`${count === 0 ? '[\n' : ',\n'}${toPrintableJson(item)}`);
      else await terminal.write((count === 0 ? heading : '') + toText(item));
      count += 1;
    }
    if (asJson) await terminal.write(count === 0 ? '[]\n' : '\n]\n');
    return count;
  }

  async function end({ selection, asJson, isConfirmed }: SessionCommand): Promise<ExitCode> {
    if (!isConfirmed) {
      const answer = await terminal.confirm(`End ${nameSelection(selection)}? [y/N] `);
      if (answer === undefined) terminal.report('latchkey: "end" needs --yes when there is no terminal');
      else if (!answer) terminal.report('Nothing was ended.');
      if (!answer) return exitCodes.notConfirmed;
    }
    const { ended, failed } = await endSelected(selection);
    if (asJson) await terminal.write(`${toPrintableJson({ ended, failed })}\n`);
    else await terminal.write(`${countSessions(ended)} ended.\n`);
    if (failed > 0)
      terminal.report(`latchkey: ${countSessions(failed)} could not be ended; run the command again`);
    if (failed > 0) return exitCodes.failed;
    return ended === 0 && selection.kind !== 'all' ? exitCodes.noSession : exitCodes.done;
  }

  async function endSelected(selection: Selection): Promise<{ ended: number; failed: number }> {
    if (selection.kind === 'subject')
      return { ended: await tokens.endAllOf({ sub: selection.sub }, 'administrator'), failed: 0 };
    if (selection.kind === 'all') return endAll();
    const id = await findByTag(selection.tag);
    const record = id === undefined ? undefined : await tokens.endBy(id, 'administrator');
    return { ended: record ? 1 : 0, failed: 0 };
  }

  /** Ends every session in the index, including those whose login is in progress. */
  async function endAll(): Promise<{ ended: number; failed: number }> {
    const counts = { ended: 0, failed: 0 };
    const entries = sessionIndex.all()[Symbol.asyncIterator]();
    const endNext = async () => {
      for (let next = await entries.next(); !next.done; next = await entries.next()) {
        const outcome = await tokens.endBy(next.value.id, 'administrator').catch(() => 'failed' as const);
        if (outcome === 'failed') counts.failed += 1;
        else if (outcome) counts.ended += 1;
      }
    };
    await Promise.all(Array.from({ length: maxConcurrentEnds }, endNext));
    return counts;
  }

  return async function run(command: SessionCommand): Promise<ExitCode> {
    const { action, selection, asJson } = command;
    if (action === 'end') return end(command);
    const count =
      action === 'list'
        ? await print(readSummaries(selection), { asJson, heading: listHeading, toText: toLine })
        : await print(readDetails(selection), { asJson, toText: toBlock });
    if (unreadable.length > 0) {
      const [first] = unreadable;
      const cause = first instanceof AppError ? describeError(first.cause).message : String(first);
      terminal.report(`latchkey: ${countSessions(unreadable.length)} could not be read: ${cause}`);
      return exitCodes.failed;
    }
    if (count === 0) terminal.report(`latchkey: there are no such sessions: ${nameSelection(selection)}`);
    const isNamed = action === 'show' || selection.kind === 'session';
    return count === 0 && isNamed ? exitCodes.noSession : exitCodes.done;
  };
}

interface PrintOptions<T> {
  readonly asJson: boolean;
  /** Printed before the first item. */
  readonly heading?: string;
  readonly toText: (item: T) => string;
}

function nameSelection(selection: Selection): string {
  if (selection.kind === 'subject') return `every session of the user ${toPrintable(selection.sub)}`;
  return selection.kind === 'all'
    ? 'every session of every user'
    : `the session ${toPrintable(selection.tag)}`;
}

function countSessions(count: number): string {
  return `${count} ${count === 1 ? 'session' : 'sessions'}`;
}
