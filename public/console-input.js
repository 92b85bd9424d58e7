// Keeps what was entered in the API console while the user is at the provider: in this tab, for this user, until it is shown again.

import { pageUserTag } from './session-watch.js';

const key = 'latchkey-console';
const maxAgeMs = 1_800_000;

const fieldsOf = (form) =>
  [...form.elements].filter(({ name, type }) => name && !/^(hidden|file)$/.test(type));
const isChanged = (field) =>
  field.type === 'radio' ? field.checked && !field.defaultChecked : field.value !== field.defaultValue;

/** Saves the input of the console whenever a link leads from this page to the provider. */
export function saveInputAtLogin(section) {
  document.addEventListener('click', ({ target }) => {
    const link = target.closest?.('a[href]');
    if (!link || link.target || !link.pathname.endsWith('/auth/login') || !pageUserTag) return;
    const forms = [...section.querySelectorAll('details.call form[target]')].map((form) => [
      form.elements.row.value,
      fieldsOf(form)
        .filter(isChanged)
        .map(({ name, value }) => [name, value]),
    ]);
    const open = section.querySelector('details.call[open] form')?.elements.row.value;
    try {
      sessionStorage.setItem(key, JSON.stringify({ pageUserTag, savedAt: Date.now(), open, forms }));
    } catch {
      // It is too much to be saved.
    }
  });
}

/** Fills in what was saved, opens its row, and forgets it. Returns the forms that it has changed. */
export function restoreInput(section) {
  const saved = read();
  sessionStorage.removeItem(key);
  if (!saved || saved.pageUserTag !== pageUserTag) return [];
  const forms = new Map(
    [...section.querySelectorAll('details.call form[target]')].map((form) => [form.elements.row.value, form]),
  );
  const opened = forms.get(saved.open)?.closest('details');
  if (opened) {
    opened.open = true;
    opened.scrollIntoView({ block: 'center' });
  }
  return saved.forms.flatMap(([row, values]) => {
    const form = forms.get(row);
    for (const [name, value] of values) {
      const field = form?.elements.namedItem(name);
      if (field) field.value = value;
    }
    return form && values.length > 0 ? [form] : [];
  });
}

/** Removes what a different user has saved in this tab, and everything at a sign-out. */
export function forgetInputOfOthers() {
  const saved = read();
  if (!saved || (pageUserTag && saved.pageUserTag !== pageUserTag)) sessionStorage.removeItem(key);
  document.addEventListener('submit', ({ target }) => {
    if (target.action.includes('/auth/logout')) sessionStorage.removeItem(key);
  });
}

function read() {
  try {
    const saved = JSON.parse(sessionStorage.getItem(key));
    return saved && Date.now() - saved.savedAt < maxAgeMs ? saved : undefined;
  } catch {
    return undefined;
  }
}
