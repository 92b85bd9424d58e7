// Shows a notice on an open page when its session has ended, or when a different user has signed in.

const noticeArea = document.querySelector('[data-session-notice]');
export const pageUserTag = document.querySelector('meta[name="latchkey-session"]')?.content;
const isSignedIn = noticeArea !== null;
const channel = new BroadcastChannel('latchkey');
/** The public origin and the base path, from the address of this file: it is at /auth/assets below them. */
export const latchkeyUrl = new URL('../..', import.meta.url).href.slice(0, -1);

/** Headers that name the user this page was made for: the server rejects the call if a different user is signed in. */
export const sessionHeaders = pageUserTag ? { 'Latchkey-Session': pageUserTag } : {};

/** Starts checking the session when the page is shown or focused, and when another tab reports a change. */
export function watchSession() {
  addEventListener('pageshow', (event) => {
    if (event.persisted) location.reload(); // from the back/forward cache: the session may have changed since
  });
  if (isSignedIn) {
    addEventListener('focus', checkSession);
    document.addEventListener('visibilitychange', () => document.hidden || checkSession());
    channel.addEventListener('message', ({ data }) => {
      if (data !== pageUserTag || shownNotice) checkSession();
    });
  }
  channel.postMessage(isSignedIn ? pageUserTag : 'nobody'); // tabs of a different user check their session
  let isSigningOut = false;
  document.addEventListener('submit', (event) => {
    isSigningOut ||= !event.defaultPrevented && event.target.action.includes('/auth/logout');
  });
  // Not before the response has arrived: until then the session continues.
  addEventListener('pagehide', () => isSigningOut && channel.postMessage('nobody'));
}

let pendingCheck;
/** Fetches the state of the session and applies it; concurrent callers share one request. */
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
  if (response?.ok) applySession(await response.json());
}

/** Shows or removes the notice, and passes a session of the same user on as the event `session`. */
export function applySession(session) {
  const { authenticated, session_mark: currentTag, reason } = session;
  if (!authenticated) showNotice(hasNotice(reason) ? reason : 'ended');
  else if (pageUserTag && currentTag && currentTag !== pageUserTag) showNotice('other');
  else {
    showNotice(undefined);
    document.dispatchEvent(new CustomEvent('session', { detail: session }));
  }
}

/** Makes the other tabs check the session, after this one has changed it. */
export function notifyOtherTabs() {
  channel.postMessage('changed');
}

/** Takes the error code of a failed call, which may be the first sign that the session ended or changed. */
export function handleApiError(code) {
  if (code === 'session_changed') showNotice('other');
  else if (code === 'login_required') checkSession();
  else return;
  notifyOtherTabs();
}

/** A reason is one of `/auth/session`; a newer server may send one that this page does not know. */
const hasNotice = (reason) => /^ended_by_[a-z]+$/.test(reason) && findNotice(reason) !== null;
const findNotice = (kind) => document.querySelector(`[data-notice="${kind}"]`);

let shownNotice;
function showNotice(kind) {
  if (shownNotice === kind || shownNotice === 'other') return; // a page of a different user stays unusable
  shownNotice = kind;
  noticeArea.replaceChildren();
  if (kind === undefined) return;
  noticeArea.append(findNotice(kind).content.cloneNode(true));
  const returnTo = new URLSearchParams({ return_to: location.pathname + location.search });
  for (const link of noticeArea.querySelectorAll('a[href]'))
    if (link.href.startsWith(`${latchkeyUrl}/auth/login`))
      link.href = `${latchkeyUrl}/auth/login?${returnTo}`;
  if (kind === 'other') for (const button of document.querySelectorAll('form button')) button.disabled = true;
}
