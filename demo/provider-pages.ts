import type { ErrorOut, KoaContextWithOIDC } from 'oidc-provider';
import { Html, html } from './html.ts';
import { renderPage } from './page.ts';

/** Asks whether to end the provider's session. `form` is the library's form without buttons; the buttons submit it. */
export function showLogout(ctx: KoaContextWithOIDC, form: string): void {
  ctx.type = 'html';
  ctx.body = renderPage(
    'Sign out?',
    html`<p>You've signed out of the application. Sign out of the demo provider too?</p>
${new Html(form)}
<div class="actions">
<button class="first" type="submit" form="op.logoutForm" name="logout" value="yes" autofocus>Sign out</button>
<button type="submit" form="op.logoutForm">Stay signed in</button>
</div>`,
  );
}

/** The last page of a logout without a `post_logout_redirect_uri`, whether or not the user chose to sign out. */
export function showSignedOut(ctx: KoaContextWithOIDC): void {
  ctx.type = 'html';
  ctx.body = renderPage('Done', html`<p>You can close this page.</p>`);
}

/** For errors without a verified redirect URI, which therefore cannot be returned to the application. */
export function showError(ctx: KoaContextWithOIDC, out: ErrorOut): void {
  ctx.type = 'html';
  ctx.body = renderPage(
    'Request failed',
    html`<p class="alarm" role="alert">${out.error}</p><p>${out.error_description}</p>`,
  );
}
