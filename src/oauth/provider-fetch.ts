import { types } from 'node:util';
import type { CustomFetch } from 'openid-client';
import { OAuthError } from './oauth-error.ts';

/** Larger responses are rejected. Metadata, key sets, tokens and claims have a few kilobytes. */
const maxResponseBytes = 1_048_576;

const { isNativeError } = types; // also for errors of another realm, unlike `instanceof`

const connectFailures = new Set([
  'ECONNREFUSED',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENOTFOUND',
  'EAI_AGAIN',
  'UND_ERR_CONNECT_TIMEOUT',
]);

/**
 * `fetch` for the endpoints of one provider. The response has been received completely; it has at most 1 MiB, after
 * decompression. Never follows a redirect.
 * @param isAllowed whether the URL may be requested: see `createHttpRule`
 * @throws OAuthError `unavailable` if nothing was sent, else `outcome_unknown`
 */
export function createProviderFetch(
  fetch: typeof globalThis.fetch,
  isAllowed: (url: URL) => boolean,
): CustomFetch {
  return async function providerFetch(url, { body, signal, ...options }) {
    const { origin, pathname } = new URL(url);
    const request = `${options.method} ${origin}${pathname}`;
    if (!isAllowed(new URL(url)))
      throw new OAuthError('client_misconfigured', `${request} was not sent: the URL must be https`);
    let response: Response;
    let bytes: Uint8Array | undefined;
    try {
      response = await fetch(url, {
        ...options,
        body: body ?? null,
        signal: signal ?? null,
        redirect: 'manual',
      });
      bytes = await readLimited(response);
    } catch (error) {
      const isUnreachable = wasNeverSent(error);
      const kind = isUnreachable ? 'unavailable' : 'outcome_unknown';
      const message = `no response to ${request}: ${describeRootCause(error)}`;
      throw new OAuthError(kind, message, { cause: error, isUnreachable });
    }
    if (!bytes) throw new OAuthError('outcome_unknown', `the response to ${request} is larger than 1 MiB`);
    const headers = new Headers(response.headers);
    for (const name of ['content-encoding', 'content-length']) headers.delete(name);
    const { status, statusText } = response;
    return new Response(bytes.length > 0 ? bytes : null, { status, statusText, headers });
  };
}

/** The body; `undefined` if it is larger than `maxResponseBytes`. */
async function readLimited({ body }: Response): Promise<Uint8Array<ArrayBuffer> | undefined> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of body ?? []) {
    length += chunk.length;
    if (length > maxResponseBytes) return undefined; // leaving the loop cancels the response
    chunks.push(chunk);
  }
  const bytes = new Uint8Array(length);
  let offset = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, offset);
    offset += chunk.length;
  }
  return bytes;
}

/** True when no connection was made, by the cause of a `fetch` error (one for each address that it tried). */
function wasNeverSent(error: unknown): boolean {
  return causesOf(isNativeError(error) ? error.cause : undefined).every(isConnectFailure);
}

function isConnectFailure(error: unknown): boolean {
  return isNativeError(error) && 'code' in error && connectFailures.has(String(error.code));
}

/** The message of the innermost cause; of several addresses, of each. */
function describeRootCause(error: unknown): string {
  const [first, ...others] = causesOf(error);
  if (others.length > 0) return [first, ...others].map(describeRootCause).join(', ');
  if (!isNativeError(first)) return 'unknown error';
  if (isNativeError(first.cause)) return describeRootCause(first.cause);
  const code = 'code' in first && typeof first.code === 'string' ? first.code : first.name;
  return first.message.includes(code) ? first.message : `${code} ${first.message}`.trim();
}

/** The errors in an AggregateError; any other error alone. */
function causesOf(error: unknown): readonly unknown[] {
  return isNativeError(error) && 'errors' in error && Array.isArray(error.errors) ? error.errors : [error];
}

/**
 * Whether a URL may be requested or sent to a browser. http is allowed only where the operator configured it: for the
 * URLs in `configured`, and for all URLs of a provider whose issuer is http. Metadata of an https issuer cannot introduce http.
 */
export function createHttpRule(
  issuer: URL | undefined,
  configured: readonly (string | undefined)[],
): (url: URL) => boolean {
  const allowed = new Set(configured.flatMap((each) => (each === undefined ? [] : new URL(each).href)));
  return (url) => url.protocol === 'https:' || issuer?.protocol === 'http:' || allowed.has(url.href);
}
