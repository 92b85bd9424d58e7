/** A JSON value, by how a page displays it. */
export type DisplayValue =
  | { readonly kind: 'text' | 'day' | 'link'; readonly value: string }
  | { readonly kind: 'flag'; readonly value: boolean }
  | { readonly kind: 'number' | 'instant'; readonly value: number }
  | { readonly kind: 'list'; readonly values: readonly DisplayValue[] }
  | { readonly kind: 'fields'; readonly fields: readonly DisplayField[] };

export interface DisplayField {
  readonly key: string;
  /** The key as words: `Member since` for `memberSince`. */
  readonly label: string;
  readonly value: DisplayValue;
}

const maxDepth = 5;
const maxTimestamp = Date.parse('9999-12-31');
const dayPattern = /^(?!0000)\d{4}-\d{2}-\d{2}$/;
const instantPattern = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:?\d{2})$/;

/** The members of `value` that are not empty, in their order. */
export function toDisplayFields(
  value: Readonly<Record<string, unknown>>,
  depth = 0,
): readonly DisplayField[] {
  return Object.entries(value).flatMap(([key, each]) => {
    const display = toDisplayValue(key, each, depth);
    return display ? [{ key, label: humanizeKey(key), value: display }] : [];
  });
}

function toDisplayValue(key: string, value: unknown, depth: number): DisplayValue | undefined {
  if (typeof value === 'string') return value.trim() === '' ? undefined : parseText(value);
  if (typeof value === 'boolean') return { kind: 'flag', value };
  if (typeof value === 'number') {
    const isInstant = key === 'updated_at' && value * 1000 <= maxTimestamp; // OIDC Core 5.1: seconds since 1970
    return isInstant ? { kind: 'instant', value: value * 1000 } : { kind: 'number', value };
  }
  if (typeof value !== 'object' || value === null) return undefined;
  if (depth === maxDepth) return { kind: 'text', value: JSON.stringify(value) };
  if (Array.isArray(value)) {
    const values = value.flatMap((each) => toDisplayValue(key, each, depth + 1) ?? []);
    return values.length > 0 ? { kind: 'list', values } : undefined;
  }
  const fields = toDisplayFields({ ...value }, depth + 1);
  return fields.length > 0 ? { kind: 'fields', fields } : undefined;
}

function parseText(value: string): DisplayValue {
  const epochMs = dayPattern.test(value) || instantPattern.test(value) ? Date.parse(value) : Number.NaN;
  if (!Number.isNaN(epochMs))
    return dayPattern.test(value) ? { kind: 'day', value } : { kind: 'instant', value: epochMs };
  // No other schemes: `javascript:` is a URL, too.
  if (/^https?:\/\/\S+$/.test(value) && URL.canParse(value)) return { kind: 'link', value };
  return { kind: 'text', value };
}

function humanizeKey(key: string): string {
  const words = key
    .replace(/([\p{Ll}\d])(\p{Lu})/gu, (_, end: string, start: string) => `${end} ${start.toLowerCase()}`)
    .replace(/[_-]+/g, ' ')
    .trim();
  return words.charAt(0).toUpperCase() + words.slice(1) || key;
}
