/** A response of 400 or above from Latchkey or the API. */
export class ApiError extends Error {
  /** `body`: the response's JSON or text. `origin`: Latchkey's. */
  constructor(response, body, origin) {
    const text = (name) => (typeof body?.[name] === 'string' ? body[name] : undefined);
    super(text('message') ?? `The server responded with status ${response.status}.`);
    this.name = 'ApiError';
    this.status = response.status;
    this.body = body;
    this.code = text('error');
    this.requestId = text('request_id') ?? response.headers.get('x-request-id');
    /** For `signIn`, where signing in or granting helps; an API's own URL is ignored. */
    this.loginUrl = text('login_url')?.startsWith(`${origin}/auth/login?`) ? body.login_url : undefined;
    /** Missing scopes, space-separated. */
    this.scope = text('scope');
    this.retryAfterSeconds = readSeconds(response.headers.get('retry-after'));
    /** The request may be resent at once. */
    this.retryable = body?.retryable === true;
  }
}

/**
 * A `fetch` with the session cookie that resolves to responses below 400. Resends `retryable` requests
 * once, and GET and HEAD after a 503 with `Retry-After` twice, within ten seconds.
 * @param {string} [base] Latchkey's origin, for an app in CORS_ORIGINS
 * @returns {(path: string, init?: RequestInit) => Promise<Response>} rejects with ApiError
 */
export function createApi(base) {
  return async (path, init = {}) => {
    const isSafe = /^(GET|HEAD)$/i.test(init.method ?? 'GET');
    let canResend = !(init.body instanceof ReadableStream);
    let retries = 2;
    let seconds = 10;
    for (;;) {
      const credentials = base ? 'include' : 'same-origin';
      const response = await fetch(base ? base + path : path, { credentials, ...init });
      if (response.status < 400) return response;
      const error = new ApiError(response, parseBody(await response.text()), base ?? location.origin);
      const wait = error.retryAfterSeconds ?? Infinity;
      if (error.retryable && canResend) canResend = false;
      else if (error.status === 503 && isSafe && wait <= seconds && retries > 0) {
        retries -= 1;
        seconds -= wait;
        await pause(wait * 1000, init.signal);
      } else throw error;
    }
  };
}

export const api = createApi();

/** Navigates to an ApiError's sign-in, which leads back to `returnTo`. */
export function signIn({ loginUrl }, returnTo = location.href) {
  const url = new URL(loginUrl);
  url.searchParams.set('return_to', returnTo);
  location.assign(url.href);
}

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
    setTimeout(resolve, ms);
    signal?.addEventListener('abort', () => reject(signal.reason), { once: true });
  });
}
