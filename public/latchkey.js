// Latchkey for your front end: an ES module without dependencies. Its types are in latchkey.d.ts, its documentation in
// docs/browser.md.

/** The version of Latchkey that this file belongs to. */
export const version = '0.1.0';

/** A response of 400 or above. What has a meaning for the app is read only if Latchkey itself has sent the response. */
export class ApiError extends Error {
  constructor(response, body, base) {
    const text = (name) => (typeof body?.[name] === 'string' ? body[name] : undefined);
    super(text('message') ?? `The server responded with status ${response.status}.`);
    this.name = 'ApiError';
    this.status = response.status;
    this.body = body;
    this.requestId = response.headers.get('x-request-id') ?? undefined;
    this.retryAfterSeconds = readSeconds(response.headers.get('retry-after'));
    // Latchkey removes this header from the responses of APIs.
    this.code = response.headers.get('latchkey-error') ?? undefined;
    const own = (name) => (this.code ? text(name) : undefined);
    const loginUrl = (name) => (own(name)?.startsWith(`${base}/auth/login?`) ? body[name] : undefined);
    this.loginUrl = loginUrl('login_url');
    this.requestAgainUrl = loginUrl('request_again_url');
    this.scope = own('scope');
    this.retryable = this.code === 'token_renewed';
  }
}

/** Of an import from Latchkey itself: its origin and base path. */
const scriptBase = /^(https?:.*)\/auth\/assets\/latchkey\.js/.exec(import.meta.url)?.[1];
const maxWaitSeconds = 10;
/** How long a state counts as new when the user returns to the page, and while the page is visible. */
const focusMs = 10_000;
const visibleMs = 300_000;
/** How often the page looks at the clocks. Short enough for a computer that was asleep, and for any timer. */
const tickMs = 60_000;
const minTickMs = 5_000;

/**
 * The functions below for the Latchkey at `address`: an origin, a base path, or both. Without an address, it is that of this
 * file if Latchkey serves it, else the origin of the page.
 */
export function connect(address = scriptBase ?? '') {
  const base = () => new URL(address, location.origin).href.replace(/\/+$/, '');
  const credentials = () => (new URL(base()).origin === location.origin ? 'same-origin' : 'include');

  const listeners = new Set();
  /** What the last response of /auth/session said; undefined while that is unknown. */
  let known;
  /** The page acts for this user: the last one that `session()` has returned. */
  let pageTag;
  let pending, next, timer, channel;
  let isWatching = false;
  let isSigningOut = false;
  let wasSignOut = false;
  let checkedAt = 0;

  async function api(path, init = {}) {
    const url = /^\//.test(path) ? base() + path : String(path);
    if (!url.startsWith(`${base()}/`)) throw new TypeError(`api() calls ${base()}/, not ${url}`);
    const isSafe = /^(GET|HEAD)$/i.test(init.method ?? 'GET');
    const isStream = init.body instanceof ReadableStream;
    const headers = new Headers(init.headers);
    if (pageTag && !headers.has('latchkey-session')) headers.set('latchkey-session', pageTag);
    for (let isResent = false; ; isResent = true) {
      const response = await fetch(url, { credentials: credentials(), ...init, headers });
      if (response.status < 400) {
        if (!isSafe && url.startsWith(`${base()}/auth/`)) noteChange(url.includes('/auth/logout'));
        return response;
      }
      const error = new ApiError(response, parseBody(await response.text()), base());
      if (/^(login_required|session_changed)$/.test(error.code)) noteChange();
      const canWait = error.code === 'temporarily_unavailable' && error.retryAfterSeconds <= maxWaitSeconds;
      if (isResent || !(error.retryable ? !isStream : isSafe && canWait)) throw error;
      if (!error.retryable) await pause(error.retryAfterSeconds * 1000, init.signal);
    }
  }

  async function session() {
    watch();
    await next?.catch(() => undefined);
    if (!known || isOver()) await check();
    pageTag = known.tag ?? pageTag;
    return known.session;
  }

  function onSessionEnd(callback) {
    const listener = (reason) => callback(reason); // its own entry, also for a function that is passed twice
    listeners.add(listener);
    watch();
    if (!known) check().catch(() => undefined); // the next check finds out
    return () => void listeners.delete(listener);
  }

  function signIn(error, returnTo = location.href) {
    if (error?.name === 'ApiError' && !error.loginUrl) throw error; // signing in would not help, and could loop
    const url = new URL(error?.loginUrl ?? `${base()}/auth/login`);
    url.searchParams.set('return_to', returnTo);
    location.assign(url.href);
  }

  function signOut() {
    watch();
    const form = document.createElement('form');
    form.method = 'post';
    form.action = `${base()}/auth/logout${pageTag ? `?session=${pageTag}` : ''}`;
    document.body.append(form);
    form.requestSubmit();
  }

  /** Asks Latchkey. Concurrent callers share one request; rejects, and changes nothing, if the state remains unknown. */
  function check() {
    pending ??= fetchState()
      .then(apply)
      .then(
        () => {
          checkedAt = Date.now();
        },
        (error) => {
          checkedAt = 0; // so that the next occasion is used
          throw error;
        },
      )
      .finally(() => {
        pending = undefined;
        tick();
      });
    return pending;
  }

  function noteChange(isSignOut = false) {
    if (!isWatching) return;
    wasSignOut ||= isSignOut;
    recheck();
  }

  /** Checks after something has changed: a response that is on its way may be too old. */
  function recheck() {
    if (navigator.onLine === false) {
      checkedAt = 0; // the event `online` is an occasion then
      return;
    }
    next ??= Promise.resolve(pending?.catch(() => undefined)).then(() => {
      next = undefined;
      return check();
    });
    next.catch(() => undefined);
  }

  async function fetchState() {
    const response = await fetch(`${base()}/auth/session`, {
      credentials: credentials(),
      headers: { accept: 'application/json' },
      cache: 'no-store',
    });
    const body = parseBody(await response.text());
    if (!response.ok) throw new ApiError(response, body, base());
    if (typeof body?.authenticated !== 'boolean')
      throw new TypeError(
        `${response.url} is not a response of Latchkey. Does your proxy forward /auth to it?`,
      );
    return body;
  }

  function apply(body) {
    const previous = known;
    const isEnd = isOver();
    known = {};
    if (body.authenticated) {
      // The clocks of browser and server differ.
      const ms = Date.parse(body.session_expires_at) - Date.parse(body.server_time);
      known.tag = body.session_mark;
      known.session = { user: body.user, scope: body.scope, expiresAt: new Date(Date.now() + ms) };
      known.endsAt = performance.now() + ms;
    }
    if (previous?.tag !== known.tag || !previous) channel?.postMessage(known.tag ?? 'nobody');
    pageTag ??= known.tag;
    const otherwise = wasSignOut && !isEnd ? 'signed_out' : 'expired';
    wasSignOut = false;
    if (!previous?.tag || previous.tag === known.tag) return;
    const reason = known.tag ? 'another_user' : (body.reason ?? otherwise);
    for (const each of listeners) queueMicrotask(() => listeners.has(each) && each(reason));
  }

  /** By the clock that stands still while the computer sleeps, or by the one that somebody may set. */
  const isOver = () =>
    known?.tag !== undefined && (performance.now() > known.endsAt || Date.now() > known.session.expiresAt);
  const isOlder = (ms) => Math.abs(Date.now() - checkedAt) > ms;

  /** While somebody is signed in: looks at the clocks once a minute, and rarely asks Latchkey. */
  function tick() {
    clearTimeout(timer);
    if (!known?.tag) return;
    const untilEnd = isOver() ? tickMs : Math.max(known.endsAt - performance.now() + 500, minTickMs);
    timer = setTimeout(
      () => {
        if (isOver() || (!document.hidden && isOlder(visibleMs))) recheck();
        tick();
      },
      Math.min(untilEnd, tickMs),
    );
  }

  function watch() {
    if (isWatching) return;
    isWatching = true;
    const openChannel = () => {
      channel = new BroadcastChannel('latchkey');
      channel.onmessage = ({ data }) => {
        wasSignOut = data === 'nobody';
        if (data !== (known?.tag ?? 'nobody')) recheck();
      };
    };
    openChannel();
    addEventListener('pagehide', () => {
      if (isSigningOut) channel?.postMessage('nobody'); // not before the response: until then, the session continues
      channel.close(); // some browsers keep no page with an open channel for the back button
      channel = undefined;
    });
    addEventListener('pageshow', ({ persisted }) => {
      if (!persisted) return;
      isSigningOut = false;
      openChannel();
      recheck();
    });
    const onReturn = () => !document.hidden && isOlder(focusMs) && recheck();
    document.addEventListener('visibilitychange', onReturn);
    for (const each of ['focus', 'online']) addEventListener(each, onReturn);
    document.addEventListener('submit', ({ target, defaultPrevented }) => {
      isSigningOut ||= !defaultPrevented && /\/auth\/logout(\?|$)/.test(target.getAttribute('action'));
    });
  }

  return { api, session, onSessionEnd, signIn, signOut };
}

export const { api, session, onSessionEnd, signIn, signOut } = connect();

function readSeconds(text) {
  const value = /^\d+$/.test(text) ? Number(text) : Math.ceil((Date.parse(text) - Date.now()) / 1000);
  return value >= 0 ? value : undefined;
}

function parseBody(text) {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

function pause(ms, signal) {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    const abort = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', abort);
      resolve();
    }, ms);
    signal?.addEventListener('abort', abort, { once: true });
  });
}
