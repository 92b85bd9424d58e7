/** A response of 400 or above from Latchkey or the API behind it. */
export class ApiError extends Error {
  /** `body`: the parsed JSON of the response, or its text. `origin`: Latchkey's origin. */
  constructor(response, body, origin) {
    const text = (name) => (typeof body?.[name] === 'string' ? body[name] : undefined);
    super(text('message') ?? `The server responded with status ${response.status}.`);
    this.name = 'ApiError';
    this.status = response.status;
    this.body = body;
    this.code = text('error');
    this.requestId = text('request_id') ?? response.headers.get('x-request-id');
    /**
     * Where signing in or granting a permission helps: the URL for `signIn`. Only one of Latchkey's own is accepted,
     * because an API may send any.
     */
    this.loginUrl = text('login_url')?.startsWith(`${origin}/auth/login?`) ? body.login_url : undefined;
    /** The missing scopes, separated by spaces. */
    this.scope = text('scope');
    this.retryAfterSeconds = parseRetryAfter(response.headers.get('retry-after'));
    /** True if the same request may be sent again immediately. */
    this.retryable = body?.retryable === true;
  }
}

/**
 * Returns a `fetch` that sends the session cookie and resolves to responses below 400. It retries a `retryable` failure
 * once. For GET and HEAD it also retries a 503 after its `Retry-After`, at most twice and within ten seconds in total.
 * @param {string} [base] Latchkey's origin, for an app in CORS_ORIGINS; absent on Latchkey's own origin
 * @returns {(path: string, init?: RequestInit) => Promise<Response>} rejects with ApiError for a status of 400 or above
 */
export function createApi(base) {
  return async (path, init = {}) => {
    const isSafe = /^(GET|HEAD)$/i.test(init.method ?? 'GET');
    let canResend = !(init.body instanceof ReadableStream);
    let retriesLeft = 2;
    let secondsLeft = 10;
    for (;;) {
      const credentials = base ? 'include' : 'same-origin';
      const response = await fetch(base ? base + path : path, { credentials, ...init });
      if (response.status < 400) return response;
      const error = new ApiError(response, parseBody(await response.text()), base ?? location.origin);
      const waitSeconds = error.retryAfterSeconds ?? Infinity;
      if (error.retryable && canResend) canResend = false;
      else if (error.status === 503 && isSafe && waitSeconds <= secondsLeft && retriesLeft > 0) {
        retriesLeft -= 1;
        secondsLeft -= waitSeconds;
        await pause(waitSeconds * 1000, init.signal);
      } else throw error;
    }
  };
}

export const api = createApi();

/** Navigates to the sign-in that an ApiError asks for; the user returns to `returnTo` afterwards. */
export function signIn({ loginUrl }, returnTo = location.href) {
  const url = new URL(loginUrl);
  url.searchParams.set('return_to', returnTo);
  location.assign(url.href);
}

function parseRetryAfter(text) {
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
