// Everything works without this file, as plain links and forms; this makes it nicer.
import { enlivenConsole } from './console.js';
import { beginOnce } from './once.js';
import { watchSession } from './session-watch.js';
import { enliven } from './token-panel.js';
import { clockTime } from './words.js';

for (const time of document.querySelectorAll('time[data-local]'))
  time.textContent = clockTime(Date.parse(time.dateTime));
for (const panel of document.querySelectorAll('[data-token-panel]')) enliven(panel);
for (const section of document.querySelectorAll('[data-console]')) enlivenConsole(section);
watchSession();
beginOnce();
