// Hides what a page shows of its user, and shows a notice in its place. What the user has typed stays in the page, and is shown
// again only to the same user.

const content = document.querySelector('main');
const account = document.querySelector('header nav');
const area = document.querySelector('[data-session-notice]');
const pageTitle = document.title;
const findNotice = (kind) => document.querySelector(`template[data-notice="${kind}"]`);
let shownKind;
let lastFocus;

/** False on a page that was made for nobody. */
export const isPageOfUser = area !== null;

export const hasNotice = (kind) => findNotice(kind) !== null;
export const isCovered = () => shownKind !== undefined;

/**
 * Shows the notice `kind` in the place of the content, or with `checking` nothing. After `other` (a different user is signed
 * in), the content is gone for good.
 * @param signInUrl leads to sign in, and back to this page
 */
export function coverPage(kind, signInUrl) {
  if (shownKind === kind || shownKind === 'other') return;
  if (!isCovered()) lastFocus = document.activeElement;
  shownKind = kind;
  for (const each of [content, account]) if (each) each.hidden = each.inert = true;
  if (kind === 'other') for (const each of [content, account]) each?.replaceChildren();
  area.replaceChildren();
  content.id = kind === 'checking' ? 'content' : '';
  if (kind === 'checking') return;
  area.append(findNotice(kind).content.cloneNode(true));
  prepareNotice(signInUrl);
  const heading = area.querySelector('h1');
  document.title = `${heading.textContent} · ${area.dataset.appName}`;
  heading.focus();
}

/** Signing in keeps the page if it holds what the user has typed: then, in a new tab. */
function prepareNotice(signInUrl) {
  const isKept = hasInput();
  for (const each of area.querySelectorAll('[data-if-input]'))
    if ((each.dataset.ifInput === 'yes') !== isKept) each.remove();
  for (const link of area.querySelectorAll('[data-sign-in]')) link.href = signInUrl;
}

/** Shows the page again. Only for its own user. */
export function uncoverPage() {
  if (!isCovered() || shownKind === 'other') return;
  shownKind = undefined;
  area.replaceChildren();
  content.id = 'content';
  for (const each of [content, account]) if (each) each.hidden = each.inert = false;
  document.title = pageTitle;
  lastFocus?.focus();
}

function hasInput() {
  return [...content.querySelectorAll('input, textarea, select')].some((field) => {
    if (field.type === 'hidden') return false;
    if (field.type === 'checkbox' || field.type === 'radio') return field.checked !== field.defaultChecked;
    // Without a default, a browser selects the first option.
    if (field.options)
      return [...field.options].some((each) => each.selected && !each.defaultSelected && each.index > 0);
    return field.value !== (field.defaultValue ?? '');
  });
}
