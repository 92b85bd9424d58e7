import { restoreInput, saveInputAtLogin } from './console-input.js';
import { convertBody, readCall, showBodyFields } from './console-request.js';
import { formatDuration, formatNumber, readTexts } from './format.js';
import { ApiError } from './latchkey.js';
import { checkSession, handleApiError, latchkeyUrl } from './session-watch.js';

const maxShownCharacters = 100_000;
const isTextType = /^$|^text\/(?!event-stream)|json|xml|javascript|urlencoded/;

/** Makes the forms of the API console call the API from this page and show the response here, without a navigation. */
export function enhanceConsole(section) {
  const texts = readTexts(section);
  const result = section.querySelector('[data-result]');
  const part = (name) => result.querySelector(`[data-${name}]`);
  const put = (name, text) => {
    part(name).textContent = text;
    part(name).hidden = !text;
  };
  const fill = (text, values) => text.replace(/\{(\w+)\}/g, (_, name) => values[name] ?? '');
  let isBusy = false;
  for (const field of section.querySelectorAll('[data-request-headers]')) field.hidden = false;
  for (const choice of section.querySelectorAll('input[name="type"]')) {
    choice.parentElement.hidden = false;
    if (choice.matches('[data-example]')) choice.checked = true;
  }
  restoreInput(section);
  for (const form of section.querySelectorAll('form')) showBodyFields(form);
  saveInputAtLogin(section);

  section.addEventListener('change', ({ target }) => {
    if (target.name !== 'type') return;
    clearProblem(target.form);
    convertBody(target.form);
    showBodyFields(target.form);
  });

  section.addEventListener('submit', async (event) => {
    const form = event.target;
    event.preventDefault();
    if (isBusy) return;
    clearProblem(form);
    const call = readCall(form);
    if (call.problem) {
      showProblem(form, call);
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
    checkSession(); // the call may have refreshed the access token
  });

  /** Shows the problem below its field, which gets the focus. */
  function showProblem(form, { problem, field: name, ...values }) {
    const message = form.querySelector('[data-problem]');
    const field = form.elements.namedItem(name);
    field.closest('.field').after(message);
    field.setAttribute('aria-describedby', message.id);
    field.ariaInvalid = 'true';
    message.textContent = fill(texts[problem], values);
    field.focus();
    if (values.offset !== undefined) field.setSelectionRange(values.offset, values.offset);
  }

  function clearProblem(form) {
    form.querySelector('[data-problem]').textContent = '';
    for (const field of form.querySelectorAll('[aria-invalid]')) {
      field.removeAttribute('aria-invalid');
      field.removeAttribute('aria-describedby');
    }
  }

  async function send({ url, init }) {
    for (const name of ['explanation', 'dropped', 'headers', 'body', 'note']) put(name, '');
    part('sign-in').hidden = true;
    const startedAt = performance.now();
    try {
      const response = await fetch(url, init);
      const ms = Math.round(performance.now() - startedAt);
      const { status, statusText } = response;
      put('heading', fill(texts.result, { status, text: statusText, ms }));
      put('headers', [...response.headers].map(([name, value]) => `${name}: ${value}`).join('\n'));
      const names = response.headers.get('latchkey-dropped-headers');
      if (names) put('dropped', fill(texts.dropped, { names }));
      const shown = await read(response);
      put('body', shown.text);
      put('note', fill(shown.note, shown));
      if (status >= 400) explain(new ApiError(response, shown.json, latchkeyUrl), response.status);
    } catch {
      put('heading', texts.unreachable);
    }
  }

  /** Texts for responses of the API itself. */
  const ofStatus = { 404: 'not_found', 429: 'too_many_requests' };

  /** Explains a failed call, with a sign-in link where signing in or granting a permission helps. */
  function explain(error, status) {
    handleApiError(error.code);
    const kind = error.code === 'insufficient_scope' && error.body.declined ? 'declined' : error.code;
    const text = texts[kind] ?? texts[ofStatus[status] ?? (status < 500 ? 'refused' : 'failed')];
    const time = formatDuration((error.retryAfterSeconds ?? 1) * 1000);
    put('explanation', fill(text, { scope: error.scope, time }));
    const link = part('sign-in').querySelector('a');
    const url = error.loginUrl ?? error.body?.request_again_url;
    part('sign-in').hidden = !url;
    if (!url) return;
    link.href = url;
    link.textContent = error.scope ? fill(texts.grant, error) : texts.sign_in;
  }

  async function read(response) {
    const type = response.headers.get('content-type') ?? '';
    if (!isTextType.test(type)) {
      response.body?.cancel();
      return { text: '', note: texts.binary, type };
    }
    const { text, isComplete } = await readText(response);
    if (!isComplete) return { text, note: texts.cut, size: formatNumber(maxShownCharacters) };
    try {
      const json = JSON.parse(text);
      return { text: JSON.stringify(json, null, 2), json, note: '' };
    } catch {
      return { text, note: text ? '' : texts.empty };
    }
  }
}

/** Reads the beginning of a response's text; `isComplete` is false where the rest was cut off. */
async function readText({ body }) {
  let text = '';
  const reader = body?.pipeThrough(new TextDecoderStream()).getReader();
  while (reader && text.length <= maxShownCharacters) {
    const { done, value } = await reader.read();
    if (done) return { text, isComplete: true };
    text += value;
  }
  reader?.cancel();
  return { text: text.slice(0, maxShownCharacters), isComplete: !reader };
}
