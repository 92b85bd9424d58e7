import type { ServerResponse } from 'node:http';

const callbacks = Symbol('callbacks');

interface WatchedResponse extends ServerResponse {
  [callbacks]?: (() => void)[] | undefined;
}

/**
 * Calls `callback` once, when the response has been sent or its connection is closed. As `res.once('close', callback)`, with
 * one listener for all callers: several per request would cost a hundredth of it each.
 */
export function onResponseClosed(res: WatchedResponse, callback: () => void): void {
  const known = res[callbacks];
  if (known) {
    known.push(callback);
    return;
  }
  res[callbacks] = [callback];
  res.on('close', callAll);
}

function callAll(this: WatchedResponse): void {
  const all = this[callbacks] ?? [];
  this[callbacks] = undefined;
  for (const callback of all) callback();
}
