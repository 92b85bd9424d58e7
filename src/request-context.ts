import { AsyncLocalStorage } from 'node:async_hooks';

/** What the log and the audit log say about the request that the running code belongs to. */
export interface RequestContext {
  readonly requestId: string;
  /** As `TRUST_PROXY` determines it. */
  readonly address: string | undefined;
  /** As the client sent it: any text. */
  readonly userAgent: string | undefined;
}

/**
 * Passing the request to every function that may write a line would reach into all layers. On Node.js 24 this costs nothing
 * that can be measured; on Node.js 20 about 20 us of CPU time per proxied request.
 */
const storage = new AsyncLocalStorage<RequestContext>();

/** Calls `work`; it and everything that it starts, background work too, belongs to the request of `context`. */
export function runInRequest(context: RequestContext, work: () => void): void {
  storage.run(context, work);
}

/** The request that the running code belongs to; `undefined` for the work of no request. */
export function currentRequest(): RequestContext | undefined {
  return storage.getStore();
}
