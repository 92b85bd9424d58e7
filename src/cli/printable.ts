const maxLength = 512;

/**
 * A value in one line for a terminal. Users choose parts of what is printed, such as their user agent, and control
 * characters would let them forge lines or command the terminal; format characters reorder what is shown.
 */
export function toPrintable(text: string): string {
  const cut = text.length > maxLength ? `${text.slice(0, maxLength)}...` : text;
  return cut.replace(/[\p{C}\p{Zl}\p{Zp}]/gu, (each) => `\\u{${each.codePointAt(0)!.toString(16)}}`);
}

/** JSON in one line, in which control and format characters are escaped: JSON itself requires that only of some. */
export function toPrintableJson(value: unknown): string {
  return JSON.stringify(value).replace(/[\p{C}\p{Zl}\p{Zp}]/gu, (each) =>
    Array.from({ length: each.length }, (_, index) => each.charCodeAt(index).toString(16).padStart(4, '0'))
      .map((code) => `\\u${code}`)
      .join(''),
  );
}
