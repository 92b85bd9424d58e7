import { html } from './html.ts';
import { renderPage } from './page.ts';
import { describeScopes } from './scopes.ts';

export interface LoginPageOptions {
  readonly uid: string;
  readonly clientName: string;
  /** Initial value of the username field. */
  readonly login?: string;
  readonly problem?: string;
}

/** The sign-in form. Fields: `login`, `password`; the cancel button sends `decision=cancel`. */
export function renderLoginPage({ uid, clientName, login, problem }: LoginPageOptions): string {
  return renderPage(
    'Sign in',
    html`<p>to continue to <strong>${clientName}</strong></p>
${problem === undefined ? undefined : html`<p class="alarm" role="alert">${problem}</p>`}
<form method="post" action="/interaction/${uid}/login">
<label for="login">Username</label>
<input id="login" name="login" type="text" value="${login}" autocomplete="username" autocapitalize="none" spellcheck="false" required autofocus>
<label for="password">Password</label>
<input id="password" name="password" type="password" autocomplete="current-password" required>
<p class="hint">Sign in as <strong>alice</strong> or <strong>bob</strong> with any password.</p>
<div class="actions">
<button class="first" type="submit">Sign in</button>
<button type="submit" name="decision" value="cancel" formnovalidate>Cancel</button>
</div>
</form>`,
  );
}

export interface ConsentPageOptions {
  readonly uid: string;
  readonly clientName: string;
  readonly userName: string;
  /** The scopes the user has to decide on. */
  readonly pending: readonly string[];
  /** The requested scopes the user has granted before. */
  readonly alreadyGranted: readonly string[];
}

/** The consent form. Fields: one `deny` checkbox per optional scope, and `decision` = `allow` or `deny`. */
export function renderConsentPage(options: ConsentPageOptions): string {
  const { uid, clientName, userName, pending, alreadyGranted } = options;
  const pendingRows = describeScopes(pending).map(({ name, description, optional }) =>
    optional
      ? html`<li>${description} <code>${name}</code> <label class="hint"><input type="checkbox" name="deny" value="${name}"> don't allow</label></li>`
      : html`<li>${description} <code>${name}</code></li>`,
  );
  const grantedRows = describeScopes(alreadyGranted).map(
    ({ name, description }) => html`<li>${description} <code>${name}</code></li>`,
  );
  return renderPage(
    `Allow ${clientName}?`,
    html`<p>You are signed in as <strong>${userName}</strong>. <strong>${clientName}</strong> would like to:</p>
<form method="post" action="/interaction/${uid}/consent">
<ul>
${pendingRows}
</ul>
${grantedRows.length === 0 ? undefined : html`<p class="hint">Previously allowed:</p><ul class="hint">${grantedRows}</ul>`}
<div class="actions">
<button class="first" type="submit" name="decision" value="allow" autofocus>Allow</button>
<button type="submit" name="decision" value="deny">Deny</button>
</div>
</form>`,
  );
}

/** For a form submitted too late, twice, or from a browser without an interaction. */
export function renderExpiredPage(): string {
  return renderPage(
    'This page has expired',
    html`<p>Go back to the application and sign in again from there.</p>`,
  );
}
