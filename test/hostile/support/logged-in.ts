import type { TokenRecord } from '../../../src/tokens/token-store.ts';
import { type Browser, cookieNames } from '../../support/browser.ts';
import type { World } from '../../support/world.ts';

/** The session id in the value of a session cookie (`s:<id>.<signature>`, percent-encoded). */
export function parseSessionId(cookie: string): string {
  const id = /^s:([^.]+)\./.exec(decodeURIComponent(cookie))?.[1];
  if (id === undefined) throw new Error(`not a session cookie: ${cookie}`);
  return id;
}

/** The session of a browser: its id, and the value and header of its cookie. */
export async function readSession(browser: Browser): Promise<{ id: string; value: string; cookie: string }> {
  const value = await browser.sessionCookie();
  if (value === undefined) throw new Error('the browser has no session cookie');
  return { id: parseSessionId(value), value, cookie: `${cookieNames(browser.origin).session}=${value}` };
}

/** The token record of a session, read directly from the token store. */
export function readRecord(world: World, id: string): Promise<TokenRecord | undefined> {
  return world.latchkey.deps.tokenStore.get(id);
}
