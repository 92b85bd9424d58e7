// The request that a form of the API console describes.

import { findJsonError } from './json-error.js';
import { latchkeyUrl, sessionHeaders } from './session-watch.js';

const timeoutMs = 60_000;
const uploadTimeoutMs = 900_000;

const typeOf = (form) => form.elements.namedItem('type')?.value;
const linesOf = (text) => text.split(/\r?\n/).filter((each) => each.trim());

/** The `fetch` arguments that a form describes, or the problem, the field that has it, and values for its text. */
export function readCall(form) {
  const value = (name) => form.elements.namedItem(name)?.value.trim() ?? '';
  const [method, pattern] = value('row').split(' ');
  let field;
  const path = pattern.replace(/([:*])(\w+)/g, (_, kind, name) => {
    const segments = kind === '*' ? value(`path.${name}`).split('/') : [value(`path.${name}`)];
    if (!segments.join('') || segments.some((each) => /^\.{1,2}$/.test(each))) field ??= `path.${name}`;
    return segments.map(encodeURIComponent).join('/');
  });
  if (field) return { problem: 'parameter', field, name: field.replace('path.', '') };
  const query = new URLSearchParams(value('query')).toString();
  const entered = readHeaders(value('headers'));
  if (!entered) return { problem: 'header', field: 'headers' };
  const { type, body, ...problem } = readBody(form, value);
  if (problem.problem) return problem;
  const headers = { accept: 'application/json, */*;q=0.5', ...entered, ...sessionHeaders };
  if (type) headers['content-type'] ??= type;
  const isUpload = body instanceof File || body instanceof FormData;
  const signal = AbortSignal.timeout(isUpload ? uploadTimeoutMs : timeoutMs);
  return {
    url: `${latchkeyUrl}/api${path}${query && `?${query}`}`,
    init: { method, headers, signal, ...(body !== undefined && { body }) },
  };
}

function readBody(form, value) {
  const type = typeOf(form);
  if (type === 'file' || type === 'multipart') {
    const file = form.elements.namedItem('file').files[0];
    if (!file) return { problem: 'no_file', field: 'file' };
    if (type === 'file') return { type: file.type || 'application/octet-stream', body: file };
    const body = new FormData();
    body.append(value('field') || 'file', file);
    return { body };
  }
  const text = value('body');
  if (!text) return {};
  if (type === 'form') {
    const lines = linesOf(text);
    const wrong = lines.findIndex((each) => !/^[^={[][^=]*=/.test(each));
    if (wrong >= 0) return { problem: 'form_line', field: 'body', line: wrong + 1 };
    return { body: new URLSearchParams(lines.join('&')) };
  }
  try {
    JSON.parse(text);
  } catch {
    return { problem: 'json_at', field: 'body', ...findJsonError(form.elements.namedItem('body').value) };
  }
  return { type: 'application/json', body: text };
}

/** The headers in lines of `name: value`, names in lower case; `undefined` if a line is not one. */
function readHeaders(text) {
  const headers = {};
  for (const line of linesOf(text)) {
    const [, name, value] = /^\s*([\w!#$%&'*+.^`|~-]+)\s*:\s*([\t\x20-\x7e]*)$/.exec(line) ?? [];
    if (!name) return undefined;
    headers[name.toLowerCase()] = value;
  }
  return headers;
}

/** Shows the fields for the kind of body that is chosen. */
export function showBodyFields(form) {
  const type = typeOf(form);
  for (const part of form.querySelectorAll('[data-for]')) {
    part.hidden = !part.dataset.for.split(' ').includes(type);
    for (const field of part.querySelectorAll('input, textarea')) field.disabled = part.hidden;
  }
  const body = form.elements.namedItem('body');
  if (body) body.placeholder = type === 'form' ? 'name=value' : '{ "name": "value" }';
}

/** Rewrites the body for the kind that was just chosen: JSON as lines of `name=value`, and such lines as JSON. */
export function convertBody(form) {
  const field = form.elements.namedItem('body');
  const type = typeOf(form);
  if (type === 'form') {
    const lines = toLines(field.value);
    if (lines !== undefined) {
      jsonOf.set(form, { lines, json: field.value });
      field.value = lines;
    }
  } else if (type === 'json' && field.value.trim()) {
    const last = jsonOf.get(form);
    field.value = (last?.lines === field.value ? last.json : toJson(field.value)) ?? field.value;
  }
}

/** The JSON from which lines were made, whose numbers the lines do not tell from texts. */
const jsonOf = new WeakMap();

function toLines(text) {
  let entries;
  try {
    if (!text.trim().startsWith('{')) return undefined;
    entries = Object.entries(JSON.parse(text));
  } catch {
    return undefined;
  }
  const isLine = ([name, value]) => !/[=\n]/.test(name) && !/\n/.test(value) && Object(value) !== value;
  return entries.every(isLine)
    ? entries.map(([name, value]) => `${name}=${value ?? ''}`).join('\n')
    : undefined;
}

function toJson(text) {
  const pairs = linesOf(text).map((each) => /^([^={[][^=]*)=(.*)$/.exec(each)?.slice(1));
  return pairs.every(Boolean) ? JSON.stringify(Object.fromEntries(pairs), null, 2) : undefined;
}
