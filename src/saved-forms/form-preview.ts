import type { SavedForm } from './saved-forms.ts';
import { hiddenValue, hideSecretsInText, isSecretName } from './secret-names.ts';

/** The content of a saved form, for its user to recognise: the fields of a urlencoded body, else the text of a JSON body. */
export interface FormPreview {
  readonly fields: readonly { readonly name: string; readonly value: string }[];
  readonly text: string | undefined;
}

const maxNameLength = 60;
const maxValueLength = 200;
const maxTextLength = 4_000;
const maxFields = 100;
const maxDepth = 20;
/** The longest encoding of one UTF-16 code unit in a urlencoded body: half of a character of four bytes, or three. */
const maxEncodedLength = 9;

/**
 * A preview of limited length, without the values of secrets. Creating it takes time and memory in proportion to the
 * body, whatever the body contains. Nothing in it is HTML-escaped.
 */
export function createFormPreview({
  contentType,
  body,
}: Pick<SavedForm, 'contentType' | 'body'>): FormPreview {
  const text = body.toString('utf8');
  if (contentType.trim().toLowerCase().startsWith('application/json'))
    return { fields: [], text: previewJson(text) };
  return { fields: text.split('&', maxFields).filter(Boolean).map(previewField), text: undefined };
}

/** `url` with the values of secret query parameters hidden. */
export function previewUrl(url: string): string {
  const [path = '', ...rest] = url.split('?');
  if (rest.length === 0) return path;
  const query = rest.join('?').split('&');
  return `${path}?${query.map((each) => (isSecretName(previewField(each).name) ? each.replace(/=.*/s, `=${hiddenValue}`) : each)).join('&')}`;
}

function previewField(pair: string): { readonly name: string; readonly value: string } {
  const end = pair.indexOf('=');
  const [name, value] = end === -1 ? [pair, ''] : [pair.slice(0, end), pair.slice(end + 1)];
  const decodedName = decode(name, maxNameLength);
  return {
    name: truncate(decodedName, maxNameLength),
    value:
      isSecretName(decodedName) && value !== ''
        ? hiddenValue
        : truncate(decode(value, maxValueLength), maxValueLength),
  };
}

/** At least `length` characters of the decoded text, if it has as many. */
function decode(encoded: string, length: number): string {
  const beginning = encoded.slice(0, (length + 1) * maxEncodedLength).replaceAll('=', '%3D');
  return new URLSearchParams(`x=${beginning}`).get('x') ?? '';
}

function truncate(text: string, maxLength: number): string {
  return text.length > maxLength ? `${text.slice(0, maxLength)}…` : text;
}

function previewJson(text: string): string {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return truncate(hideSecretsInText(text.slice(0, maxTextLength + 1)), maxTextLength); // the API will reject it
  }
  return truncate(printJson(value), maxTextLength);
}

/** As `JSON.stringify(value, undefined, 2)`, but without secrets, and it stops soon after `maxTextLength` characters. */
function printJson(root: unknown): string {
  let printed = '';

  function print(value: unknown, depth: number): void {
    if (typeof value === 'string') printed += JSON.stringify(truncate(value, maxTextLength));
    else if (typeof value !== 'object' || value === null) printed += JSON.stringify(value);
    else if (depth === maxDepth) printed += '…';
    else printMembers(value, depth);
  }

  function printMembers(value: object, depth: number): void {
    const [open, close] = Array.isArray(value) ? '[]' : '{}';
    const keys = Array.isArray(value) ? value.keys() : Object.keys(value);
    let separator = '';
    printed += open;
    for (const key of keys) {
      if (printed.length > maxTextLength) return;
      printed += `${separator}\n${'  '.repeat(depth + 1)}`;
      separator = ',';
      if (typeof key === 'string') printed += `${JSON.stringify(truncate(key, maxTextLength))}: `;
      if (typeof key === 'string' && isSecretName(key)) printed += `"${hiddenValue}"`;
      else print((value as Record<string | number, unknown>)[key], depth + 1);
    }
    printed += `${separator && `\n${'  '.repeat(depth)}`}${close}`;
  }

  print(root, 0);
  return printed;
}
