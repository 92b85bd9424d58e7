// Formats times and durations in the page's language, and reads the texts that the server embeds in the page.

const { lang } = document.documentElement;
/** The page's language with the user's region, if the browser lists one. */
const locale = navigator.languages.find((each) => each.startsWith(lang)) ?? lang;
const timeFormats = {
  minutes: new Intl.DateTimeFormat(locale, { dateStyle: 'long', timeStyle: 'short' }),
  seconds: new Intl.DateTimeFormat(locale, { dateStyle: 'long', timeStyle: 'medium' }),
};

/** Formats an instant (epoch milliseconds) in the user's time zone, to the minute or the second. */
export const formatInstant = (instant, precision) => timeFormats[precision || 'minutes'].format(instant);

/** Formats a duration in seconds, or in minutes from two minutes on. No line break separates the number from the unit. */
export function formatDuration(ms) {
  const seconds = Math.ceil(ms / 1000);
  const [value, unit] = seconds < 120 ? [seconds, 'second'] : [Math.round(seconds / 60), 'minute'];
  return value.toLocaleString(locale, { style: 'unit', unit, unitDisplay: 'long' }).replaceAll(' ', '\u00a0');
}

export const formatNumber = (value) => value.toLocaleString(locale);

/** The translated texts that the server embedded in this element. */
export function readTexts(element) {
  return JSON.parse(element.querySelector('script[type="application/json"]').textContent);
}
