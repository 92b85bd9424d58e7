/** Members and indexes from the top of a JSON text to a value. */
export type JsonPath = readonly PropertyKey[];

export interface ParsedJson {
  readonly json: unknown;
  /** The line on which the value at `path` begins (that of a member: where its name is), or of what contains it. */
  lineOf(path: JsonPath): number;
}

class JsonProblem extends Error {}

const literal = /true|false|null|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;
const string = /"(?:[^"\\\t\r\n]|\\(?:["\\/bfnrt]|u[\dA-Fa-f]{4}))*"/y;
const whitespace = /[ \t\r\n]*/y;

/** The value of a JSON text with the lines of its members, or the first error with its line; never quotes a value. */
export function parseJson(source: string): ParsedJson | { readonly problem: string } {
  const text = source.replace(/^\uFEFF/, '');
  const lineAt = (offset: number) => text.slice(0, offset).split('\n').length;
  const offsets = new Map<string, number>();
  let offset = 0;

  function skip(pattern: RegExp): string | undefined {
    pattern.lastIndex = offset;
    const match = pattern.exec(text)?.[0];
    offset += match?.length ?? 0;
    return match;
  }

  function next(): string | undefined {
    skip(whitespace);
    return text[offset];
  }

  function fail(expected: string): never {
    const found = next();
    const column = offset - text.lastIndexOf('\n', offset - 1);
    const place = `line ${lineAt(offset)}, column ${column}`;
    if (found === undefined) throw new JsonProblem(`the file ends where ${expected} is expected (${place})`);
    const hint = /^a (value|name)/.test(expected) ? hintAt(text.slice(offset, offset + 2)) : '';
    throw new JsonProblem(`${expected} is expected at ${place}${hint && `: ${hint}`}`);
  }

  function readValue(path: JsonPath): void {
    const first = next();
    if (!offsets.has(keyOf(path))) offsets.set(keyOf(path), offset);
    if (first === '{') readItems('}', () => readMember(path));
    else if (first === '[') readItems(']', (index) => readValue([...path, index]));
    else if (first === '"') skip(string) ?? fail('a complete string');
    else skip(literal) ?? fail('a value');
  }

  function readMember(path: JsonPath): void {
    const start = next() === '"' ? offset : fail('a name in double quotes');
    const name: unknown = JSON.parse(skip(string) ?? fail('a complete string'));
    const member = [...path, String(name)];
    if (offsets.has(keyOf(member)))
      throw new JsonProblem(`${JSON.stringify(name)} is repeated on line ${lineAt(start)}`);
    offsets.set(keyOf(member), start);
    if (next() !== ':') fail('a colon');
    offset += 1;
    readValue(member);
  }

  /** The items between brackets; `offset` is at the opening one. */
  function readItems(end: string, readItem: (index: number) => void): void {
    offset += 1;
    for (let index = 0; index > 0 || next() !== end; index += 1) {
      readItem(index);
      if (next() === end) break;
      if (text[offset] !== ',') fail(`a comma or ${end}`);
      offset += 1;
    }
    offset += 1;
  }

  try {
    readValue([]);
    if (next() !== undefined) fail('the end of the file');
    const json: unknown = JSON.parse(text);
    return { json, lineOf: (path) => lineAt(findOffset(path)) };
  } catch (error) {
    if (error instanceof JsonProblem) return { problem: error.message };
    return { problem: 'a string contains a control character, or the nesting is too deep' };
  }

  function findOffset(path: JsonPath): number {
    return offsets.get(keyOf(path)) ?? (path.length === 0 ? 0 : findOffset(path.slice(0, -1)));
  }
}

function keyOf(path: JsonPath): string {
  return JSON.stringify(path.map(String));
}

function hintAt(text: string): string {
  if (/^\/[/*]|^#/.test(text)) return 'JSON has no comments';
  if (text.startsWith("'")) return 'JSON needs double quotes';
  if (/^[}\]]/.test(text)) return 'JSON has no comma after the last item';
  return '';
}
