import { ApiError } from './latchkey.js';
import { askSession, noticeFailure, sessionHeaders } from './session-watch.js';
import { textsIn } from './words.js';

const mostShown = 100_000;
const longestMs = 60_000;
const isReadable = /^$|^text\/(?!event-stream)|json|xml|javascript|urlencoded/;

/** The forms of the API console call the API from here and show what comes, where they else would leave for it. */
export function enlivenConsole(section) {
  const texts = textsIn(section);
  const result = section.querySelector('[data-result]');
  const part = (name) => result.querySelector(`[data-${name}]`);
  const put = (name, text) => {
    part(name).textContent = text;
    part(name).hidden = !text;
  };
  const fill = (text, values) => text.replace(/\{(\w+)\}/g, (_, name) => values[name] ?? '');
  let isBusy = false;

  section.addEventListener('submit', async (event) => {
    const form = event.target;
    event.preventDefault();
    if (isBusy) return;
    const problem = form.querySelector('[data-problem]');
    problem.textContent = '';
    const call = callOf(form);
    if (call.problem) {
      problem.textContent = texts[call.problem];
      form.elements.namedItem(call.field).focus();
      return;
    }
    isBusy = true;
    form.ariaBusy = 'true';
    await send(call);
    form.ariaBusy = 'false';
    isBusy = false;
    form.after(result);
    result.hidden = false;
    part('heading').focus();
    askSession(); // the call may have had the access token renewed
  });

  async function send({ url, init }) {
    for (const name of ['explained', 'headers', 'body', 'note']) put(name, '');
    part('sign-in').hidden = true;
    const began = performance.now();
    try {
      const response = await fetch(url, { ...init, signal: AbortSignal.timeout(longestMs) });
      const ms = Math.round(performance.now() - began);
      const { status, statusText } = response;
      put('heading', fill(texts.answered, { status, text: statusText, ms }));
      put('headers', [...response.headers].map(([name, value]) => `${name}: ${value}`).join('\n'));
      const shown = await read(response);
      put('body', shown.text);
      put('note', fill(shown.note, shown));
      if (status >= 400) explain(new ApiError(response, shown.json, location.origin), response.status);
    } catch {
      put('heading', texts.unreachable);
    }
  }

  /** What a failure means, and the way on where signing in helps. */
  function explain(error, status) {
    noticeFailure(error.code);
    const kind = error.code === 'insufficient_scope' && error.body.declined ? 'declined' : error.code;
    const text =
      texts[kind] ?? (status === 429 ? texts.too_many_requests : texts[status < 500 ? 'refused' : 'failed']);
    put('explained', fill(text, { scope: error.scope, seconds: error.retryAfterSeconds ?? 1 }));
    const link = part('sign-in');
    const again = new URLSearchParams({ scope: error.scope ?? '', return_to: location.pathname });
    const address = error.loginUrl ?? (kind === 'declined' ? `/auth/login?${again}` : undefined);
    link.hidden = !address;
    if (!address) return;
    link.href = address;
    link.textContent = error.scope ? fill(texts.grant, error) : texts.sign_in;
  }

  async function read(response) {
    const type = response.headers.get('content-type') ?? '';
    if (!isReadable.test(type)) {
      response.body?.cancel();
      return { text: '', note: texts.binary, type };
    }
    const { text, isWhole } = await readText(response);
    if (!isWhole) return { text, note: texts.cut, size: mostShown };
    try {
      const json = JSON.parse(text);
      return { text: JSON.stringify(json, null, 2), json, note: '' };
    } catch {
      return { text, note: text ? '' : texts.empty };
    }
  }
}

/** The beginning of an answer, and whether that is all of it. */
async function readText({ body }) {
  let text = '';
  const reader = body?.pipeThrough(new TextDecoderStream()).getReader();
  while (reader && text.length <= mostShown) {
    const { done, value } = await reader.read();
    if (done) return { text, isWhole: true };
    text += value;
  }
  reader?.cancel();
  return { text: text.slice(0, mostShown), isWhole: !reader };
}

/** What a form of the console asks for, or the problem with it. */
function callOf(form) {
  const value = (name) => form.elements.namedItem(name)?.value.trim() ?? '';
  const [method, pattern] = value('row').split(' ');
  let field;
  const path = pattern.replace(/([:*])(\w+)/g, (_, kind, name) => {
    const segments = kind === '*' ? value(`path.${name}`).split('/') : [value(`path.${name}`)];
    if (!segments.join('') || segments.some((each) => /^\.{1,2}$/.test(each))) field ??= `path.${name}`;
    return segments.map(encodeURIComponent).join('/');
  });
  if (field) return { problem: 'parameter', field };
  const query = new URLSearchParams(value('query')).toString();
  const headers = { ...sessionHeaders, accept: 'application/json, */*;q=0.5' };
  const init = { method, headers };
  const text = value('body');
  if (text && value('type') === 'form') init.body = new URLSearchParams(text.replace(/\r?\n/g, '&'));
  else if (text) {
    try {
      JSON.parse(text);
    } catch {
      return { problem: 'json', field: 'body' };
    }
    headers['content-type'] = 'application/json';
    init.body = text;
  }
  return { url: `/api${path}${query && `?${query}`}`, init };
}
