// Hides an open page when its session has ended, or when a different user has signed in.
import { coverPage, hasNotice, isCovered, isPageOfUser as isSignedIn, uncoverPage } from './session-cover.js';

/** How often a visible page checks a session that may end in another browser. */
const checkMs = 10_000;
export const pageUserTag = document.querySelector('meta[name="latchkey-session"]')?.content;
const channel = new BroadcastChannel('latchkey');
/** The public origin and the base path, from the address of this file: it is at /auth/assets below them. */
export const latchkeyUrl = new URL('../..', import.meta.url).href.slice(0, -1);

/** Headers that name the user this page was made for: the server rejects the call if a different user is signed in. */
export const sessionHeaders = pageUserTag ? { 'Latchkey-Session': pageUserTag } : {};

/** Starts checking the session when the page is shown or focused, and when another tab reports a change. */
export function watchSession() {
  if (isSignedIn) {
    addEventListener('focus', checkSession);
    document.addEventListener('visibilitychange', () => document.hidden || checkSession());
    setInterval(() => document.hidden || isCovered() || checkSession(), checkMs);
    channel.addEventListener('message', ({ data }) => {
      if (data !== pageUserTag || isCovered()) checkSession();
    });
  }
  watchHistory();
  channel.postMessage(isSignedIn ? pageUserTag : 'nobody'); // tabs of a different user check their session
  let isSigningOut = false;
  document.addEventListener('submit', (event) => {
    isSigningOut ||= !event.defaultPrevented && event.target.action.includes('/auth/logout');
  });
  // Not before the response has arrived: until then the session continues.
  addEventListener('pagehide', () => isSigningOut && channel.postMessage('nobody'));
}

/** A page from the back/forward cache shows nothing of its user until it is known who is signed in now. */
function watchHistory() {
  addEventListener('pagehide', ({ persisted }) => persisted && isSignedIn && coverPage('checking'));
  addEventListener('pageshow', async ({ persisted }) => {
    if (!persisted) return;
    if (!isSignedIn) return location.reload();
    for (const each of document.querySelectorAll('.flash')) each.remove(); // shown once
    if (!(await checkSession())) coverPage('unknown');
  });
}

let pendingCheck;
/** Fetches the state of the session and applies it; concurrent callers share one request. Resolves to whether it is known. */
export function checkSession() {
  pendingCheck ??= fetchSession().finally(() => {
    pendingCheck = undefined;
  });
  return pendingCheck;
}

async function fetchSession() {
  const response = await fetch(`${latchkeyUrl}/auth/session`, {
    headers: { accept: 'application/json' },
  }).catch(() => undefined);
  // Any other response leaves the state unknown, which does not mean that the session has ended.
  const session = response?.ok ? await response.json().catch(() => undefined) : undefined;
  if (session) applySession(session);
  return session !== undefined;
}

/** Hides the page or shows it again, and passes a session of the same user on as the event `session`. */
export function applySession(session) {
  const { authenticated, session_mark: currentTag, reason } = session;
  if (!authenticated) coverPage(hasNotice(reason) ? reason : 'ended', signInUrl());
  else if (currentTag !== pageUserTag) coverPage('other');
  else {
    uncoverPage();
    document.dispatchEvent(new CustomEvent('session', { detail: session }));
  }
}

/** Back to this page, or from the page of a failed request to where `latchkey-return` says. */
function signInUrl() {
  const after = document.querySelector('meta[name="latchkey-return"]')?.content;
  const returnTo = new URLSearchParams({ return_to: after ?? location.pathname + location.search });
  return `${latchkeyUrl}/auth/login?${returnTo}`;
}

/** Makes the other tabs check the session, after this one has changed it. */
export function notifyOtherTabs() {
  channel.postMessage('changed');
}

/** Takes the error code of a failed call, which may be the first sign that the session ended or changed. */
export function handleApiError(code) {
  if (code === 'session_changed') coverPage('other');
  else if (code === 'login_required') checkSession();
  else return;
  notifyOtherTabs();
}
