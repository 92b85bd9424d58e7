import { html } from './html.ts';
import { page } from './page.ts';
import { describeScopes } from './scopes.ts';

export interface LoginPage {
  readonly uid: string;
  readonly clientName: string;
  /** What the login field holds already. */
  readonly login?: string;
  readonly problem?: string;
}

/** The sign-in form: `login`, `password`, and `decision=cancel` for those who would rather not. */
export function loginPage({ uid, clientName, login, problem }: LoginPage): string {
  return page(
    'Sign in',
    html`<p>to continue to <strong>${clientName}</strong></p>
${problem === undefined ? undefined : html`<p class="alarm" role="alert">${problem}</p>`}
<form method="post" action="/interaction/${uid}/login">
<label for="login">Name</label>
<input id="login" name="login" type="text" value="${login}" autocomplete="username" autocapitalize="none" spellcheck="false" required autofocus>
<label for="password">Password</label>
<input id="password" name="password" type="password" autocomplete="current-password" required>
<p class="hint">Sign in as <strong>alice</strong> or <strong>bob</strong>, any password.</p>
<div class="actions">
<button class="first" type="submit">Sign in</button>
<button type="submit" name="decision" value="cancel" formnovalidate>Cancel</button>
</div>
</form>`,
  );
}

export interface ConsentPage {
  readonly uid: string;
  readonly clientName: string;
  readonly personName: string;
  /** The scopes to decide about now. */
  readonly asked: readonly string[];
  /** Requested too, and allowed before. */
  readonly held: readonly string[];
}

/** The consent form: a `leave_out` box for each scope that may be refused, and `decision` = `allow` or `deny`. */
export function consentPage({ uid, clientName, personName, asked, held }: ConsentPage): string {
  const rows = describeScopes(asked).map(({ name, words, optional }) =>
    optional
      ? html`<li>${words} <code>${name}</code> <label class="hint"><input type="checkbox" name="leave_out" value="${name}"> leave out</label></li>`
      : html`<li>${words} <code>${name}</code></li>`,
  );
  const before = describeScopes(held).map(({ name, words }) => html`<li>${words} <code>${name}</code></li>`);
  return page(
    `Allow ${clientName}?`,
    html`<p>You are signed in as <strong>${personName}</strong>. <strong>${clientName}</strong> asks to:</p>
<form method="post" action="/interaction/${uid}/consent">
<ul>
${rows}
</ul>
${before.length === 0 ? undefined : html`<p class="hint">You have allowed it before to:</p><ul class="hint">${before}</ul>`}
<div class="actions">
<button class="first" type="submit" name="decision" value="allow" autofocus>Allow</button>
<button type="submit" name="decision" value="deny">Deny</button>
</div>
</form>`,
  );
}

/** For a form that came too late, twice, or from a browser that never began to sign in. */
export function expiredPage(): string {
  return page('This page has expired', html`<p>Go back to the application and sign in from there again.</p>`);
}
