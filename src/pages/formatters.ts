/** Formats dates and numbers for one locale. Instants are in UTC, because the server does not know the user's time zone. */
export interface Formatters {
  /** A calendar day (`2019-05-04`). */
  day(iso: string): string;
  instant(epochMs: number): string;
  number(value: number): string;
  /** `in 12 seconds`, `in 2 minutes` or `in 3 hours`, rounded up. */
  fromNow(seconds: number): string;
}

/** @param locale a language, with or without a region (`en-GB`) */
export function createFormatters(locale: string): Formatters {
  return {
    day: (iso) => new Date(iso).toLocaleDateString(locale, { dateStyle: 'long', timeZone: 'UTC' }),
    instant: (epochMs) =>
      new Date(epochMs).toLocaleString(locale, {
        ...({ day: 'numeric', month: 'long', year: 'numeric', hour: '2-digit', minute: '2-digit' } as const),
        ...({ timeZone: 'UTC', timeZoneName: 'short' } as const),
      }),
    number: (value) => value.toLocaleString(locale, { maximumFractionDigits: 20 }),
    fromNow(seconds) {
      const relative = new Intl.RelativeTimeFormat(locale);
      if (seconds < 90) return relative.format(Math.ceil(seconds), 'second');
      if (seconds < 5400) return relative.format(Math.ceil(seconds / 60), 'minute');
      return relative.format(Math.ceil(seconds / 3600), 'hour');
    },
  };
}
