// Numbers and times as the reader of the page writes them.

const { lang } = document.documentElement;
/** The reader's region of the page's language, if the browser names one. */
const locale = navigator.languages.find((each) => each.startsWith(lang)) ?? lang;
const time = new Intl.DateTimeFormat(locale, { dateStyle: 'long', timeStyle: 'medium' });

/** An instant (epoch milliseconds) in the reader's own time zone. */
export const clockTime = (instant) => time.format(instant);

/** A time span in seconds, or in minutes when it is long. */
export function duration(ms) {
  const seconds = Math.ceil(ms / 1000);
  const [value, unit] = seconds < 120 ? [seconds, 'second'] : [Math.round(seconds / 60), 'minute'];
  return value.toLocaleString(locale, { style: 'unit', unit, unitDisplay: 'long' });
}

/** The texts which the server put into this part of the page, in the reader's language. */
export function textsIn(element) {
  return JSON.parse(element.querySelector('script[type="application/json"]').textContent);
}
