/** What separates the hash from the rest of the name: `app.3f2a.js`, `app-3f2a.js`, `3f2a.js`, `3f2a._.js`. */
const hashedPart =
  /(?:^|[.-])([\w-]{8}|[\da-f]{8,64})(?=(?:\.chunk|\.module|\.min|\.legacy|\._)*(?:\.[a-z\d]+){1,2}$)/;
const hexHash = /^(?=.*\d)(?=.*[a-f])[\da-f]{8,64}$/;
/** Base64url or base32. Without these conditions it could be a word, a date or a version (`chapter1`, `20240131`). */
const mixedHash = /^(?=.*[A-Z])[\w-]{8}$/;
const words = /^[A-Z]?[a-z]*(?:[A-Z][a-z]+)*\d*$/;

/**
 * True for a file name that contains a hash of the content, as the names that Vite, Rollup, webpack, Create React App, esbuild,
 * Angular and Parcel generate: such a file never changes, so browsers may keep it for ever. In doubt it is false,
 * because a browser that keeps a file that changes would not get the next release.
 */
export function isHashedName(fileName: string): boolean {
  if (/\.html?$/i.test(fileName)) return false;
  // The hash of Vite can itself contain the separator, so every place where it could begin is tried.
  for (let start = 0; start >= 0; start = nextSeparator(fileName, start)) {
    const hash = hashedPart.exec(fileName.slice(start));
    if (hash?.index === 0 && isHash(hash[1] ?? '')) return true;
  }
  return false;
}

function nextSeparator(text: string, after: number): number {
  const next = text.slice(after + 1).search(/[.-]/);
  return next < 0 ? -1 : after + 1 + next;
}

function isHash(part: string): boolean {
  return hexHash.test(part) || (mixedHash.test(part) && !words.test(part));
}
