import { lookup } from 'node:dns';
import type { LookupFunction } from 'node:net';

const loopbackAddresses = [
  { address: '127.0.0.1', family: 4 },
  { address: '::1', family: 6 },
] as const;

/**
 * `lookup` of node:dns, but `localhost` always has both loopback addresses, as in browsers (RFC 6761 6.3): many development
 * servers listen on one of them only, and some systems know only the other one.
 */
export const lookupLocalhost: LookupFunction = (hostname, options, callback) => {
  if (!/^(.+\.)?localhost\.?$/i.test(hostname)) {
    lookup(hostname, options, callback);
    return;
  }
  lookup(hostname, { ...options, all: true }, (error, found) => {
    const known = error ? [] : found;
    const missing = loopbackAddresses.filter(({ address }) =>
      known.every((each) => each.address !== address),
    );
    const { family } = options;
    const all = [...known, ...missing].filter(
      (each) => !family || each.family === Number(String(family).replace('IPv', '')),
    );
    const [first] = all;
    if (options.all) callback(null, all);
    else callback(first ? null : error, first?.address ?? '', first?.family);
  });
};
