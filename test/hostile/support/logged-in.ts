import type { TokenRecord } from '../../../src/tokens/token-store.ts';
import type { Browser } from '../../support/browser.ts';
import type { World } from '../../support/world.ts';

/** The session id in a session cookie's value as it is sent (`s:<id>.<signature>`, percent-encoded). */
export function parseSessionId(cookie: string): string {
  const id = /^s:([^.]+)\./.exec(decodeURIComponent(cookie))?.[1];
  if (id === undefined) throw new Error(`not a session cookie: ${cookie}`);
  return id;
}

/** The `Cookie` header and the id of a browser's session. */
export async function readSession(browser: Browser): Promise<{ id: string; value: string; cookie: string }> {
  const value = await browser.cookie('latchkey');
  if (value === undefined) throw new Error('the browser has no session cookie');
  return { id: parseSessionId(value), value, cookie: `latchkey=${value}` };
}

/** What the server holds for a session, as an eye inside the house sees it. */
export function readRecord(world: World, id: string): Promise<TokenRecord | undefined> {
  return world.latchkey.deps.tokenStore.get(id);
}
