import { html } from './html.ts';
import { renderPage } from './page.ts';
import { describeScopes } from './scopes.ts';
import type { Texts } from './texts.ts';

export interface LoginPageOptions {
  readonly texts: Texts;
  readonly uid: string;
  readonly clientName: string;
  /** Initial value of the username field. */
  readonly login?: string;
  readonly problem?: string;
}

/** The sign-in form. Fields: `login`, `password`; the cancel button sends `decision=cancel`. */
export function renderLoginPage({ texts, uid, clientName, login, problem }: LoginPageOptions): string {
  return renderPage(
    texts,
    texts.signIn,
    html`<p>${texts.toContinue} <strong>${clientName}</strong></p>
${problem === undefined ? undefined : html`<p class="alarm" role="alert">${problem}</p>`}
<form method="post" action="/interaction/${uid}/login">
<label for="login">${texts.username}</label>
<input id="login" name="login" type="text" value="${login}" autocomplete="username" autocapitalize="none" spellcheck="false" required autofocus>
<label for="password">${texts.password}</label>
<input id="password" name="password" type="password" autocomplete="current-password" required>
<p class="hint">${texts.users}</p>
<div class="actions">
<button class="first" type="submit">${texts.signIn}</button>
<button type="submit" name="decision" value="cancel" formnovalidate>${texts.cancel}</button>
</div>
</form>`,
  );
}

export interface ConsentPageOptions {
  readonly texts: Texts;
  readonly uid: string;
  readonly clientName: string;
  readonly userName: string;
  /** The scopes the user has to decide on. */
  readonly pending: readonly string[];
  /** The requested scopes the user has granted before. */
  readonly alreadyGranted: readonly string[];
}

/**
 * The consent form. Fields: for each optional scope `asked` and, if the user leaves it checked, `allow`; and `decision` =
 * `allow` or `deny`.
 */
export function renderConsentPage(options: ConsentPageOptions): string {
  const { texts, uid, clientName, userName, pending, alreadyGranted } = options;
  const describe = (name: string) => texts.scopes[name] ?? `${texts.otherScope} (${name})`;
  const pendingRows = describeScopes(pending).map(({ name, optional }) =>
    optional
      ? html`<li><label><input type="checkbox" name="allow" value="${name}" checked> ${describe(name)}</label><input type="hidden" name="asked" value="${name}"></li>`
      : html`<li>${describe(name)}</li>`,
  );
  const grantedRows = describeScopes(alreadyGranted).map(({ name }) => html`<li>${describe(name)}</li>`);
  return renderPage(
    texts,
    texts.allowQuestion,
    html`<p>${texts.signedInAs} <strong>${userName}</strong>. <strong>${clientName}</strong> ${texts.wantsTo}</p>
<form method="post" action="/interaction/${uid}/consent">
<ul>
${pendingRows}
</ul>
${grantedRows.length === 0 ? undefined : html`<p class="hint">${texts.alreadyAllowed}</p><ul class="hint">${grantedRows}</ul>`}
<div class="actions">
<button class="first" type="submit" name="decision" value="allow" autofocus>${texts.allow}</button>
<button type="submit" name="decision" value="deny">${texts.deny}</button>
</div>
</form>`,
  );
}

/** For a form submitted too late, twice, or from a browser without an interaction. */
export function renderExpiredPage(texts: Texts): string {
  return renderPage(texts, texts.expired, html`<p>${texts.startAgain}</p>`);
}
