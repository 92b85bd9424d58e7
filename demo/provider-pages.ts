import type { ErrorOut, KoaContextWithOIDC } from 'oidc-provider';
import { Html, html } from './html.ts';
import { page } from './page.ts';

/** Asks whether to end the provider's session; `form` is the library's empty form, to which the buttons belong. */
export function showLogout(ctx: KoaContextWithOIDC, form: string): void {
  ctx.type = 'html';
  ctx.body = page(
    'Sign out?',
    html`<p>You have left the application. Sign out here too?</p>
${new Html(form)}
<div class="actions">
<button class="first" type="submit" form="op.logoutForm" name="logout" value="yes" autofocus>Sign out</button>
<button type="submit" form="op.logoutForm">Stay signed in</button>
</div>`,
  );
}

/** Where a logout ends that named no address to go back to. */
export function showSignedOut(ctx: KoaContextWithOIDC): void {
  ctx.type = 'html';
  ctx.body = page('Done', html`<p>You may close this page.</p>`);
}

/** An error that cannot be taken back to the application, because it is not known to be one. */
export function showError(ctx: KoaContextWithOIDC, out: ErrorOut): void {
  ctx.type = 'html';
  ctx.body = page(
    'That did not work',
    html`<p class="alarm" role="alert">${out.error}</p><p>${out.error_description}</p>`,
  );
}
