import { execFileSync } from 'node:child_process';
import { constants, mkdtempSync, openSync, readSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { createLineOutput } from '../../src/standard-output.ts';
import { elapsedMs } from '../../src/time/elapsed.ts';

/** A pipe, and a function that reads what it holds. */
function createPipe() {
  const path = join(mkdtempSync(join(tmpdir(), 'pipe-')), 'pipe');
  execFileSync('mkfifo', [path]);
  const reader = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  const buffer = Buffer.alloc(65_536);
  return {
    descriptor: openSync(path, 'w'),
    read(): string {
      try {
        return buffer.toString('latin1', 0, readSync(reader, buffer));
      } catch {
        return ''; // empty
      }
    },
    async readUntil(end: RegExp): Promise<string> {
      let text = '';
      for (const endsAt = elapsedMs() + 20_000; !end.test(text) && elapsedMs() < endsAt; await delay(1))
        text += this.read();
      return text;
    },
  };
}

const line = (count: number, text = 'x') => `${String(count).padStart(5, '0')} ${text.repeat(994)}\n`;

test('while nobody reads a pipe, nobody waits: whole lines wait, in order, and those that do not fit are dropped', async () => {
  const pipe = createPipe();
  const output = createLineOutput(pipe.descriptor);
  const dropped = { log: 0, audit: 0 };
  const resumed: number[] = [];
  output.watch(
    (kind, lines) => {
      dropped[kind] += lines;
    },
    (lines) => resumed.push(lines),
  );
  const startedAt = elapsedMs();
  for (let count = 0; count < 3_000; count += 1) output.write(line(count));
  for (let count = 3_000; count < 3_500; count += 1) output.write(line(count, 'a'), 'audit');
  expect(elapsedMs() - startedAt).toBeLessThan(5_000);
  expect(dropped.log).toBeGreaterThan(1_500);
  expect(dropped.audit).toBe(0);
  expect(resumed).toEqual([]);

  const text = await pipe.readUntil(/03499 a+\n$/);
  const lines = text.trimEnd().split('\n');
  expect(lines.every((each) => /^\d{5} (x{994}|a{994})$/.test(each))).toBe(true);
  expect(lines.map((each) => each.slice(0, 5))).toEqual([...lines.map((each) => each.slice(0, 5))].sort());
  expect(lines).toHaveLength(3_500 - dropped.log);
  for (const endsAt = elapsedMs() + 5_000; resumed.length === 0 && elapsedMs() < endsAt; ) await delay(5);
  expect(resumed).toEqual([dropped.log]);
  output.write('after\n');
  expect(await pipe.readUntil(/after/)).toBe('after\n');
});

test('lines of the audit log have a limit, too', () => {
  const output = createLineOutput(createPipe().descriptor);
  let dropped = 0;
  output.watch(
    (kind, lines) => {
      if (kind === 'audit') dropped += lines;
    },
    () => {},
  );
  for (let count = 0; count < 3_000; count += 1) output.write(line(count), 'audit');
  expect(dropped).toBeGreaterThan(500);
});

test.each([
  ['a pipe that nobody reads', () => createPipe().descriptor],
  ['a full disk', () => openSync('/dev/full', 'w')],
  ['a closed descriptor', () => 1_000_000],
])('the end of the process waits only a moment for %s', (_what, open) => {
  const output = createLineOutput(open());
  for (let count = 0; count < 2_000; count += 1) output.write(line(count));
  const startedAt = elapsedMs();
  output.flushSync();
  expect(elapsedMs() - startedAt).toBeLessThan(2_000);
});
