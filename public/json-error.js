const token =
  /\s*(?:([{}[\],:])|("(?:[^"\\\t\r\n]|\\(?:["\\/bfnrt]|u[\da-fA-F]{4}))*")|(?:-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null)(?![\w.]))/y;
/** What may follow after each of these, `open` being the closing bracket of the innermost object or array. */
const isAllowed = {
  value: (kind) => /^["v{[]$/.test(kind),
  'first item': (kind) => /^["v{[\]]$/.test(kind),
  'first name': (kind) => /^["}]$/.test(kind),
  name: (kind) => kind === '"',
  colon: (kind) => kind === ':',
  end: (kind, open) => kind === open || (kind === ',' && open !== undefined),
};

/** Where `text` stops being JSON: the offset, and the line and character from 1. Browsers say it differently, or not at all. */
export function findJsonError(text) {
  const open = [];
  let expected = 'value';
  let offset = 0;
  for (;;) {
    token.lastIndex = offset;
    const match = token.exec(text);
    const kind = match && (match[1] ?? (match[2] ? '"' : 'v'));
    if (!match || !isAllowed[expected](kind, open.at(-1))) return locate(text, offset);
    offset = token.lastIndex;
    if (kind === '{' || kind === '[') open.push(kind === '{' ? '}' : ']');
    if (kind === '}' || kind === ']') open.pop();
    expected = next(kind, expected, open.at(-1));
  }
}

function next(kind, before, open) {
  if (kind === '{') return 'first name';
  if (kind === '[') return 'first item';
  if (kind === ',') return open === '}' ? 'name' : 'value';
  if (kind === ':') return 'value';
  return kind === '"' && before.endsWith('name') ? 'colon' : 'end';
}

function locate(text, end) {
  const offset = end + /^\s*/.exec(text.slice(end))[0].length;
  const lines = text.slice(0, offset).split('\n');
  return { offset, line: lines.length, column: lines.at(-1).length + 1 };
}
