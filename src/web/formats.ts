/** Dates and numbers as people of one language write them; instants in UTC, since no server knows where its reader is. */
export interface Formats {
  /** A calendar day (`2019-05-04`). */
  day(iso: string): string;
  instant(epochMs: number): string;
  number(value: number): string;
  /** `in 12 seconds`, in the unit that fits. */
  fromNow(seconds: number): string;
}

export function createFormats(lang: string): Formats {
  const day = new Intl.DateTimeFormat(lang, { dateStyle: 'long', timeZone: 'UTC' });
  const instant = new Intl.DateTimeFormat(lang, {
    ...({ day: 'numeric', month: 'long', year: 'numeric' } as const),
    ...({ hour: '2-digit', minute: '2-digit', timeZone: 'UTC', timeZoneName: 'short' } as const),
  });
  const number = new Intl.NumberFormat(lang, { maximumFractionDigits: 20 });
  const relative = new Intl.RelativeTimeFormat(lang);
  return {
    day: (iso) => day.format(new Date(iso)),
    instant: (epochMs) => instant.format(epochMs),
    number: (value) => number.format(value),
    fromNow(seconds) {
      if (seconds < 90) return relative.format(Math.ceil(seconds), 'second');
      if (seconds < 5400) return relative.format(Math.ceil(seconds / 60), 'minute');
      return relative.format(Math.ceil(seconds / 3600), 'hour');
    },
  };
}
