/** A value of JSON as people read it. */
export type DisplayValue =
  | { readonly kind: 'text' | 'day' | 'link'; readonly value: string }
  | { readonly kind: 'flag'; readonly value: boolean }
  | { readonly kind: 'number' | 'instant'; readonly value: number }
  | { readonly kind: 'list'; readonly values: readonly DisplayValue[] }
  | { readonly kind: 'fields'; readonly fields: readonly DisplayField[] };

export interface DisplayField {
  readonly key: string;
  /** The key in words: `memberSince` as `Member since`. */
  readonly label: string;
  readonly value: DisplayValue;
}

const maxDepth = 5;
const maxTimestamp = Date.parse('9999-12-31');
const day = /^(?!0000)\d{4}-\d{2}-\d{2}$/;
const instant = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:?\d{2})$/;

/** The members of `value` that say something, in their order. */
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
  const epochMs = day.test(value) || instant.test(value) ? Date.parse(value) : Number.NaN;
  if (!Number.isNaN(epochMs))
    return day.test(value) ? { kind: 'day', value } : { kind: 'instant', value: epochMs };
  // No other scheme: `javascript:` is a URL as well.
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
