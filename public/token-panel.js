import { formatDuration, formatInstant, readTexts } from './format.js';
import { ApiError, api } from './latchkey.js';
import {
  applySession,
  checkSession,
  handleApiError,
  notifyOtherTabs,
  sessionHeaders,
} from './session-watch.js';

/**
 * Makes the token panel live: its bar counts down, and it shows a refresh as soon as it happens. It counts durations
 * given by the server, because the browser's clock may be wrong.
 */
export function enhanceTokenPanel(panel) {
  const texts = readTexts(panel);
  const part = (name) => panel.querySelector(`[data-${name}]`);
  const showStatus = (text) => {
    part('status').textContent = text;
  };
  const bar = part('lifetime');
  let issuedAt = Date.parse(part('issued').dateTime);
  let end = performance.now() + Number(panel.dataset.leftMs);
  let nextCheckMs = 2_000;
  let timer;

  function tick() {
    clearTimeout(timer);
    if (!bar || document.hidden) return;
    const leftMs = Math.max(0, end - performance.now());
    bar.value = leftMs;
    bar.hidden = leftMs === 0;
    part('validity').textContent =
      leftMs > 0 ? texts.valid_for.replace('{time}', formatDuration(leftMs)) : texts.expired;
    if (leftMs > 0) timer = setTimeout(tick, 1_000);
    else {
      // The next call refreshes the token; another page may make it.
      timer = setTimeout(() => checkSession().then(tick), nextCheckMs);
      nextCheckMs = Math.min(nextCheckMs * 2, 60_000);
    }
  }

  function show(session) {
    const serverTime = Date.parse(session.server_time);
    const nextIssuedAt = Date.parse(session.access_token_issued_at);
    setTime(part('session-end'), session.session_expires_at);
    if (nextIssuedAt === issuedAt) return;
    issuedAt = nextIssuedAt;
    part('issued-label').textContent = texts.last_refresh;
    setTime(part('issued'), session.access_token_issued_at);
    setTime(part('expires'), session.access_token_expires_at);
    const expiresAt = Date.parse(session.access_token_expires_at);
    end = performance.now() + expiresAt - serverTime;
    if (bar) bar.max = expiresAt - issuedAt;
    nextCheckMs = 2_000;
    showStatus(texts.renewed);
    tick();
  }

  async function refresh(event) {
    event.preventDefault();
    const { target: form, submitter } = event;
    if (form.ariaBusy === 'true') return;
    form.ariaBusy = 'true';
    try {
      const headers = { ...sessionHeaders, accept: 'application/json' };
      applySession(await (await api(form.action, { method: 'POST', headers })).json());
      notifyOtherTabs();
    } catch (error) {
      const code = error instanceof ApiError ? error.code : 'unreachable';
      handleApiError(code);
      showStatus(texts[code] ?? texts.failed);
    }
    form.ariaBusy = 'false';
    submitter?.focus();
  }

  document.addEventListener('session', ({ detail }) => show(detail));
  document.addEventListener('visibilitychange', tick);
  part('refresh').addEventListener('submit', refresh);
  tick();
}

function setTime(element, instant) {
  if (!element || !instant) return;
  element.dateTime = instant;
  element.textContent = formatInstant(Date.parse(instant), element.dataset.local);
}
