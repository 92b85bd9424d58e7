type Fields = Readonly<Record<string, unknown>>;

/** Characters that a terminal acts on or does not show. */
const invisibleCharacters = /[\p{C}\u2028\u2029]/gu;
/** Fields that come first, or that a reader at a terminal does not need. */
const ownFields = new Set(['time', 'level', 'msg', 'err', 'request_id']);
const stackLevels = new Set(['error', 'fatal']);

/** A JSON line of the log as text for a terminal: time, level, message, then the other fields as `name=value`. */
export function formatLogLine(json: string): string {
  const line = JSON.parse(json) as Fields;
  const { time, level, msg, err, method, path, status, responseTime, ...rest } = line;
  const clock = String(time).slice(11, 23);
  const isRequest = [method, path, status, responseTime].every((each) => each !== undefined);
  const request = isRequest ? ` ${method} ${path} ${status} ${responseTime}ms` : '';
  const fields = Object.entries(isRequest ? rest : line)
    .filter(([name, value]) => !ownFields.has(name) && value !== null)
    .map(
      ([name, value]) =>
        ` ${name}=${typeof value === 'string' && /^[\w.:/@+-]+$/.test(value) ? value : JSON.stringify(value)}`,
    )
    .join('');
  const text = `${clock} ${String(level).toUpperCase().padEnd(5)} ${msg ?? ''}${request}${fields}${describe(err)}`;
  const stack = isObject(err) && stackLevels.has(String(level)) ? `\n${String(err.stack ?? '')}` : '';
  return `${clean(text)}${stack.split('\n').map(clean).join('\n')}\n`;
}

/** The messages of an error and its causes. */
function describe(error: unknown): string {
  if (!isObject(error)) return '';
  return ` (${error.message}${error.code === undefined ? '' : `, ${error.code}`}${describe(error.cause)})`;
}

function clean(text: string): string {
  return text.replace(invisibleCharacters, '\uFFFD');
}

function isObject(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null;
}
