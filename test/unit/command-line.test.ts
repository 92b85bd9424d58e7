import { parseCommand, UsageError } from '../../src/cli/arguments.ts';
import { toPrintable, toPrintableJson } from '../../src/cli/printable.ts';

const parse = (line: string) => parseCommand(line.split(' ').filter((each) => each !== ''));

test('a command has an action and one selection', () => {
  expect(parse('sessions list --subject alice --json')).toEqual({
    action: 'list',
    selection: { kind: 'subject', sub: 'alice' },
    asJson: true,
    isConfirmed: false,
  });
  expect(parse('sessions end --all --yes')).toMatchObject({ selection: { kind: 'all' }, isConfirmed: true });
  expect(parse('sessions show --session pJ2y0l8yqk3C1ZVb')).toMatchObject({
    selection: { kind: 'session', tag: 'pJ2y0l8yqk3C1ZVb' },
  });
  for (const line of ['--session=-J2y0l8yqk3C1ZVb', '--session -J2y0l8yqk3C1ZVb --json'])
    expect(parse(`sessions show ${line}`)).toMatchObject({
      selection: { kind: 'session', tag: '-J2y0l8yqk3C1ZVb' },
    });
  expect(parse('--help')).toBe('help');
  expect(parse('sessions end -h')).toBe('help');
  expect(parse('--version')).toBe('version');
});

test.each([
  ['', 'a command is missing'],
  ['users', 'unknown command: users'],
  ['sessions', 'list, show or end?'],
  ['sessions kill --all', 'unknown command: kill'],
  ['sessions end alice', 'unexpected argument: alice'],
  ['sessions end', 'say which sessions'],
  ['sessions end --yes', 'say which sessions'],
  ['sessions end --subject alice --all', 'say which sessions'],
  ['sessions end --subject alice --subject bob', 'say which sessions'],
  ['sessions end --subject= --yes', 'say which sessions'],
  ['sessions end --session= --yes', 'say which sessions'],
  ['sessions list --all --yes', '--yes belongs to "end"'],
  ['sessions list --everything', "Unknown option '--everything'"],
  ['sessions list --subject', "Option '--subject <value>' argument missing"],
  ['sessions end --all=yes', "Option '--all' does not take an argument"],
])('the arguments "%s" are refused: %s', (line, message) => {
  expect(() => parse(line)).toThrow(UsageError);
  expect(() => parse(line)).toThrow(message);
});

test('what users choose cannot command the terminal, forge a line or reorder the text', () => {
  expect(toPrintable('\u001b[2J\nroot\u202e\u0085\u2028x')).toBe(
    '\\u{1b}[2J\\u{a}root\\u{202e}\\u{85}\\u{2028}x',
  );
  expect(toPrintable('Zoë 日本 😀')).toBe('Zoë 日本 😀');
  expect(toPrintable('x'.repeat(10_000))).toHaveLength(515);
  const value = { text: '\u001b\u009b31m\u202e\u{e0041}"Zoë' };
  const json = toPrintableJson(value);
  expect(json).toMatch(/^[\x20-\x7eë]*$/);
  expect(JSON.parse(json)).toEqual(value);
});
