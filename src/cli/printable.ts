const maxLength = 512;

/**
 * A value on one line for a terminal, at most 512 characters, with control and format characters escaped. Users choose
 * some values, such as their user agent: control characters could forge lines or control the terminal, and format
 * characters could reorder the text.
 */
export function toPrintable(text: string): string {
  const cut = text.length > maxLength ? `${text.slice(0, maxLength)}...` : text;
  return cut.replace(/[\p{C}\p{Zl}\p{Zp}]/gu, (each) => `\\u{${each.codePointAt(0)!.toString(16)}}`);
}

/** JSON on one line, with all control and format characters escaped; `JSON.stringify` escapes only some of them. */
export function toPrintableJson(value: unknown): string {
  return JSON.stringify(value).replace(/[\p{C}\p{Zl}\p{Zp}]/gu, (each) =>
    Array.from({ length: each.length }, (_, index) => each.charCodeAt(index).toString(16).padStart(4, '0'))
      .map((code) => `\\u${code}`)
      .join(''),
  );
}
