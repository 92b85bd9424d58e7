/** What separates the hash from the rest of the name: `app.3f2a.js`, `app-3f2a.js`, `3f2a.js`, `3f2a._.js`. */
const hashedPart =
  /^([\w-]{8}|[\da-f]{8,64})(?=((?:\.chunk|\.module|\.min|\.legacy|\._)*(?:\.[a-z\d]+){1,2})$)/;
const hexHash = /^(?=.*\d)(?=.*[a-f])[\da-f]{8,64}$/;
/** Of esbuild and Angular. */
const base32Hash = /^[A-Z2-7]{8}$/;
/** What a name that somebody has chosen consists of. */
const wordsAndNumbers = /[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+/g;

/**
 * True for a file that never changes, so that browsers may keep it for ever: a file in a folder named `immutable`, as
 * SvelteKit generates it, or one whose name contains a hash of the content, as the names that Vite, Rollup, webpack, Create
 * React App, esbuild, Angular and Parcel generate. In doubt it is false, because a browser that keeps a file that changes would
 * not get the next release.
 *
 * @param path below the folder of the front end, with `/`
 */
export function isHashedName(path: string): boolean {
  if (/\.html?$/i.test(path)) return false;
  if (/(^|\/)immutable\//.test(path)) return true;
  const name = path.replace(/.*\//s, '');
  // The hash of Vite can itself contain the separator, so every place where it could begin is tried.
  for (let start = 0; start < name.length; start++) {
    if (start > 0 && !/[.-]/.test(name.charAt(start - 1))) continue;
    const [, part, suffix = ''] = hashedPart.exec(name.slice(start)) ?? [];
    if (part !== undefined && isHash(part, start === 0, suffix)) return true;
  }
  return false;
}

function isHash(part: string, isWholeName: boolean, suffix: string): boolean {
  if (hexHash.test(part)) return true;
  if (part.length !== 8 || !/[A-Z]/.test(part)) return false;
  const parts = part.match(wordsAndNumbers) ?? [];
  if (isWholeName) return parts.length >= 5 && /[a-z]/.test(part); // not IMG_1234, Logo_big or EMU10K1X
  if (base32Hash.test(part) && /\.(js|css)(\.|$)/.test(suffix))
    return /\d[A-Z]/.test(part) || /[^AEIOUY\d]{4}/.test(part);
  // Somebody may write a name of three words and numbers, but not with several that nobody can pronounce. Single letters are
  // common in names with separators (ACME_2x1).
  const hasSeparator = /[-_]/.test(part);
  const unpronounceable = parts.filter(
    (each) => /^[^aeiouy\d]+$/i.test(each) && (each.length > 1 || !hasSeparator),
  );
  return parts.length + unpronounceable.length >= 5;
}
