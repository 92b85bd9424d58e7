import { ApiError, api } from './latchkey.js';
import { askSession, noticeFailure, sessionHeaders, sessionIs, tellOthers } from './session-watch.js';
import { clockTime, duration, textsIn } from './words.js';

/**
 * The token panel lives: its bar runs down, and shows the refresh when it happens. It counts durations that the server
 * gives: the clock here may be wrong.
 */
export function enliven(panel) {
  const texts = textsIn(panel);
  const part = (name) => panel.querySelector(`[data-${name}]`);
  const say = (text) => {
    part('says').textContent = text;
  };
  const bar = part('life');
  let issuedAt = Date.parse(part('issued').dateTime);
  let end = performance.now() + Number(panel.dataset.leftMs);
  let askAgainMs = 2_000;
  let timer;

  function tick() {
    clearTimeout(timer);
    if (!bar || document.hidden) return;
    const leftMs = Math.max(0, end - performance.now());
    bar.value = leftMs;
    part('left').textContent = leftMs > 0 ? texts.left.replace('{time}', duration(leftMs)) : texts.over;
    if (leftMs > 0) timer = setTimeout(tick, 1_000);
    else {
      // Whoever calls next has it renewed; it may be another page.
      timer = setTimeout(() => askSession().then(tick), askAgainMs);
      askAgainMs = Math.min(askAgainMs * 2, 60_000);
    }
  }

  function show(session) {
    const serverTime = Date.parse(session.server_time);
    const nextIssuedAt = Date.parse(session.access_token_issued_at);
    setTime(part('session-end'), session.session_expires_at);
    if (nextIssuedAt === issuedAt) return;
    issuedAt = nextIssuedAt;
    part('issued-how').textContent = texts.last_refresh;
    setTime(part('issued'), session.access_token_issued_at);
    setTime(part('expires'), session.access_token_expires_at);
    const expiresAt = Date.parse(session.access_token_expires_at);
    end = performance.now() + expiresAt - serverTime;
    if (bar) bar.max = expiresAt - issuedAt;
    askAgainMs = 2_000;
    say(texts.renewed);
    tick();
  }

  async function refresh(event) {
    event.preventDefault();
    const { target: form, submitter } = event;
    if (form.ariaBusy === 'true') return;
    form.ariaBusy = 'true';
    try {
      const headers = { ...sessionHeaders, accept: 'application/json' };
      sessionIs(await (await api(form.action, { method: 'POST', headers })).json());
      tellOthers();
    } catch (error) {
      const code = error instanceof ApiError ? error.code : 'unreachable';
      noticeFailure(code);
      say(texts[code] ?? texts.failed);
    }
    form.ariaBusy = 'false';
    submitter?.focus();
  }

  document.addEventListener('session', ({ detail }) => show(detail));
  document.addEventListener('visibilitychange', tick);
  part('refresh').addEventListener('submit', refresh);
  tick();
}

function setTime(time, instant) {
  if (!time || !instant) return;
  time.dateTime = instant;
  time.textContent = clockTime(Date.parse(instant));
}
