import { type Claims, hasValue, readClaim } from './read-claim.ts';

/** Of one header, and of all headers of a request: many servers read no more than 8 or 16 KiB. */
const maxHeaderLength = 4_096;
const maxTotalLength = 8_192;

/** Some servers treat other characters in the name of a header as `-`, or all of them as `_`. */
export function normalizeHeaderName(name: string): string {
  return name.toLowerCase().replace(/[^a-z\d]/g, '-');
}

/**
 * The headers that say who the user is, from `names` (header to claim). A claim without a value has no header, and one that
 * is too long has none either: a part of a list of groups could mean more than the whole.
 * @param onTooLong is called with the name of each header that was left out
 */
export function createIdentityHeaders(
  names: Readonly<Record<string, string>>,
  claims: Claims,
  onTooLong: (header: string) => void,
): Record<string, string> {
  const headers: Record<string, string> = {};
  let total = 0;
  for (const [header, claim] of Object.entries(names)) {
    const value = encodeClaim(readClaim(claims, claim));
    if (value === undefined) continue;
    if (value.length > maxHeaderLength || total + value.length > maxTotalLength) onTooLong(header);
    else {
      headers[header] = value;
      total += value.length;
    }
  }
  return headers;
}

/**
 * A claim as the value of a header: percent-encoded UTF-8 where it is not printable ASCII, with the items of an array joined
 * by commas. A comma within an item is encoded, so that no text can look like several items. Objects have no such form.
 */
export function encodeClaim(value: unknown): string | undefined {
  const items = (Array.isArray(value) ? value : [value]).flatMap((each) => {
    const isText = typeof each === 'string' || typeof each === 'number' || typeof each === 'boolean';
    return hasValue(each) && isText && each !== '' ? [encodeText(String(each))] : [];
  });
  return items.length > 0 ? items.join(',') : undefined;
}

function encodeText(text: string): string {
  return text.replace(/[^\x20-\x7E]+|[%,]|^ +| +$/gu, (each) =>
    [...Buffer.from(each)].map((byte) => `%${byte.toString(16).toUpperCase().padStart(2, '0')}`).join(''),
  );
}
