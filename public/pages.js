// Everything here works without this file as plain links and forms; this makes it nicer.
import { ApiError, api } from './latchkey.js';

const { lang } = document.documentElement;
const locale = navigator.languages.find((each) => each.startsWith(lang)) ?? lang;

for (const time of document.querySelectorAll('time[data-left-ms]')) countDown(time);
for (const time of document.querySelectorAll('time[data-local]')) {
  time.textContent = new Date(time.dateTime).toLocaleString(locale, {
    dateStyle: 'long',
    timeStyle: 'short',
  });
}
document.querySelector('form[data-call]')?.addEventListener('submit', callApi);

/** Shows the seconds that are left, measured from when the page arrived: the clock here may be wrong. */
function countDown(time) {
  const end = performance.now() + Number(time.dataset.leftMs);
  const tick = () => {
    const seconds = Math.max(0, Math.round((end - performance.now()) / 1000));
    time.textContent = seconds > 0 ? `${seconds} s from now` : 'now; the next call renews it';
    if (seconds > 0) setTimeout(tick, 1000);
  };
  time.parentElement.firstChild.textContent = '';
  tick();
}

/** Shows the answer of the API on this page. */
async function callApi(event) {
  event.preventDefault();
  const shown = document.querySelector('[data-answer]');
  shown.hidden = false;
  try {
    const answer = await api(event.target.action, { headers: { accept: 'application/json' } });
    shown.textContent = `${answer.status} ${answer.statusText}\n\n${pretty(await answer.text())}`;
  } catch (error) {
    shown.textContent =
      error instanceof ApiError
        ? `${error.status} ${error.message}\n\n${pretty(JSON.stringify(error.body))}`
        : 'The server cannot be reached. Please try again in a moment.';
  }
}

function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}
