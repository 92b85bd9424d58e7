import { isIP } from 'node:net';
import { ipKeyGenerator } from 'express-rate-limit';

/**
 * What counts as one client: the address without a port, or the /56 network of an IPv6 address. All that is no address
 * counts as one.
 */
export function networkOf(address = ''): string {
  const host = /^\[(.*)\](?::\d+)?$/.exec(address)?.[1] ?? address.replace(/^([\d.]+):\d+$/, '$1');
  return isIP(host) === 0 ? 'unknown' : ipKeyGenerator(host);
}
