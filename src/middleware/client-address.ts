import { isIP } from 'node:net';
import type { Request } from 'express';
import { ipKeyGenerator } from 'express-rate-limit';

/** What stands for every address that is none, so that invented values share one limit. */
export const unknownAddress = 'unknown';

/** The IP address in a member of `X-Forwarded-For`, without brackets, port or zone; `unknown` if it is none. */
export function parseForwardedAddress(value: string): string {
  const text = value.trim();
  const [, bracketed] = /^\[([^\]]*)\](?::\d{1,5})?$/.exec(text) ?? [];
  const [, withPort] = /^(\d[\d.]*):\d{1,5}$/.exec(text) ?? [];
  const address = (bracketed ?? withPort ?? text).split('%', 1)[0] ?? '';
  return isIP(address) === 0 ? unknownAddress : address;
}

/** What limits count as one client: an IPv4 address, or the /56 network of an IPv6 address. */
export function networkOf(address = ''): string {
  return ipKeyGenerator(parseForwardedAddress(address));
}

/** The key under which limits count the address of a request. */
export function addressKeyOf({ ip }: Request): string {
  return `address:${networkOf(ip)}`;
}
