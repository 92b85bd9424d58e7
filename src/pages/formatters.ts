/** Formats dates and numbers for one locale. Instants are in UTC, because the server does not know the user's time zone. */
export interface Formatters {
  /** A calendar day (`2019-05-04`). */
  day(iso: string): string;
  instant(epochMs: number): string;
  number(value: number): string;
  /** `in 12 seconds`, `in 2 minutes` or `in 3 hours`, rounded up. */
  fromNow(seconds: number): string;
}

/** Clients choose the locales, and each takes up to 250 KB once dates and numbers were formatted in it. */
const maxLocales = 20;
const formattersByLocale = new Map<string, Formatters>();

/**
 * The formatters of a locale. They are reused, because creating those for dates takes longer than rendering a page.
 * @param locale a language, with or without a region (`en-GB`)
 */
export function formattersFor(locale: string): Formatters {
  const existing = formattersByLocale.get(locale);
  if (existing) return existing;
  if (formattersByLocale.size >= maxLocales) formattersByLocale.clear();
  const created = createFormatters(locale);
  formattersByLocale.set(locale, created);
  return created;
}

function createFormatters(locale: string): Formatters {
  const days = once(() => new Intl.DateTimeFormat(locale, { dateStyle: 'long', timeZone: 'UTC' }));
  const instants = once(
    () =>
      new Intl.DateTimeFormat(locale, {
        ...({ day: 'numeric', month: 'long', year: 'numeric', hour: '2-digit', minute: '2-digit' } as const),
        ...({ timeZone: 'UTC', timeZoneName: 'short' } as const),
      }),
  );
  const numbers = once(() => new Intl.NumberFormat(locale, { maximumFractionDigits: 20 }));
  const times = once(() => new Intl.RelativeTimeFormat(locale));
  return {
    day: (iso) => days().format(new Date(iso)),
    instant: (epochMs) => instants().format(epochMs),
    number: (value) => numbers().format(value),
    fromNow(seconds) {
      if (seconds < 90) return times().format(Math.ceil(seconds), 'second');
      if (seconds < 5400) return times().format(Math.ceil(seconds / 60), 'minute');
      return times().format(Math.ceil(seconds / 3600), 'hour');
    },
  };
}

/** Returns what `create` returns; it is called when the value is first needed. */
function once<T>(create: () => T): () => T {
  let value: T | undefined;
  return () => {
    value ??= create();
    return value;
  };
}
