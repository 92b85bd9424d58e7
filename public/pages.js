// Progressive enhancement: without this file every page still works with plain links and forms.
import { enhanceConsole } from './console.js';
import { forgetInputOfOthers } from './console-input.js';
import { formatInstant } from './format.js';
import { preventDoubleSubmit } from './prevent-double-submit.js';
import { watchSession } from './session-watch.js';
import { enhanceTokenPanel } from './token-panel.js';

for (const time of document.querySelectorAll('time[data-local]'))
  time.textContent = formatInstant(Date.parse(time.dateTime), time.dataset.local);
for (const panel of document.querySelectorAll('[data-token-panel]')) enhanceTokenPanel(panel);
for (const section of document.querySelectorAll('[data-console]')) enhanceConsole(section);
const address = document.querySelector('meta[name="latchkey-address"]')?.content;
if (address) history.replaceState(null, '', address); // a reload would not help, and the address holds parameters of the provider
watchSession();
forgetInputOfOthers();
preventDoubleSubmit();
