/** What Latchkey, or the API behind it, answered instead. */
export class ApiError extends Error {
  /** `body`: the answer's JSON, else its text. `origin`: Latchkey's. */
  constructor(response, body, origin) {
    const text = (name) => (typeof body?.[name] === 'string' ? body[name] : undefined);
    super(text('message') ?? `The server answered ${response.status}.`);
    this.name = 'ApiError';
    this.status = response.status;
    this.body = body;
    this.code = text('error');
    this.requestId = text('request_id') ?? response.headers.get('x-request-id');
    /** Where signing in or granting more helps: for `signIn`. An API may send any: only ours counts. */
    this.loginUrl = text('login_url')?.startsWith(`${origin}/auth/login?`) ? body.login_url : undefined;
    /** Missing scopes, separated by spaces. */
    this.scope = text('scope');
    this.retryAfterSeconds = seconds(response.headers.get('retry-after'));
    /** The same may be sent again at once. */
    this.retryable = body?.retryable === true;
  }
}

/**
 * `fetch` with the session: at our own origin or, for an app in CORS_ORIGINS, at `base`, Latchkey's origin. Gives answers
 * below 400. What is `retryable` is sent once more. For GET and HEAD a 503 with `Retry-After` is waited out, twice and
 * ten seconds at most.
 * @param {string} [base]
 * @returns {(path: string, init?: RequestInit) => Promise<Response>} rejects with ApiError
 */
export function createApi(base) {
  return async (path, init = {}) => {
    const isSafe = /^(GET|HEAD)$/i.test(init.method ?? 'GET');
    let canRenew = !(init.body instanceof ReadableStream);
    let waits = 2;
    let left = 10;
    for (;;) {
      const credentials = base ? 'include' : 'same-origin';
      const response = await fetch(base ? base + path : path, { credentials, ...init });
      if (response.status < 400) return response;
      const error = new ApiError(response, parsed(await response.text()), base ?? location.origin);
      const wait = error.retryAfterSeconds ?? Infinity;
      if (error.retryable && canRenew) canRenew = false;
      else if (error.status === 503 && isSafe && wait <= left && waits > 0) {
        waits -= 1;
        left -= wait;
        await pause(wait * 1000, init.signal);
      } else throw error;
    }
  };
}

export const api = createApi();

/** Leaves for the sign-in an error asks for, which leads back. */
export function signIn({ loginUrl }, returnTo = location.href) {
  const url = new URL(loginUrl);
  url.searchParams.set('return_to', returnTo);
  location.assign(url.href);
}

function seconds(text) {
  const value = /^\d+$/.test(text) ? Number(text) : Math.ceil((Date.parse(text) - Date.now()) / 1000);
  return value >= 0 ? value : undefined;
}

function parsed(text) {
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
