import { existsSync, readFileSync, statSync } from 'node:fs';

const maxBytes = 65_536;

/** The secret in the file without the line break at its end, or what is wrong, which never contains the secret. */
export function readSecretFile(path: string): { readonly secret: string } | { readonly problem: string } {
  const name = describePath(path);
  let bytes: Buffer;
  try {
    const file = statSync(path);
    // Reading a device or a pipe might never end.
    if (!file.isFile()) return { problem: `must name a regular file, but ${name} is none` };
    if (file.size > maxBytes) return { problem: `names ${name}, which is too large for a secret` };
    bytes = readFileSync(path);
  } catch (error) {
    // The message of the error quotes the path.
    const code =
      typeof error === 'object' && error !== null && 'code' in error ? error.code : 'unknown error';
    return { problem: `names ${name}, which cannot be read (${code})` };
  }
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes); // also removes a byte order mark
  } catch {
    return { problem: `names ${name}, which is not UTF-8 text` };
  }
  const secret = text.replace(/[\r\n]+$/, '');
  if (secret.trim() === '') return { problem: `names ${name}, which is empty` };
  if (/\p{Cc}/u.test(secret))
    return { problem: `names ${name}, which must contain the secret alone, on one line` };
  return { secret };
}

/** The path, unless it may be the secret itself, set as `_FILE` by mistake: a URL, a token, or base64 that begins with `/`. */
function describePath(path: string): string {
  const [, firstFolder] = /^(\.{1,2}|\/[^/]+)\//.exec(path) ?? [];
  return firstFolder !== undefined && existsSync(firstFolder)
    ? path
    : 'a file (not shown, because it may be the secret itself; write ./ before a relative path)';
}
