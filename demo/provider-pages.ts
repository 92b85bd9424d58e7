import type { ErrorOut, KoaContextWithOIDC } from 'oidc-provider';
import { Html, html } from './html.ts';
import { renderPage } from './page.ts';
import { chooseTexts } from './texts.ts';

/** Asks whether to end the provider's session. `form` is the library's form without buttons; the buttons submit it. */
export function showLogout(ctx: KoaContextWithOIDC, form: string): void {
  const texts = chooseTexts(ctx.req);
  const clientName = ctx.oidc.client?.clientName;
  ctx.type = 'html';
  ctx.body = renderPage(
    texts,
    texts.signOutQuestion,
    html`<p>${clientName === undefined ? undefined : html`${texts.signedOutOf} <strong>${clientName}</strong>. `}${texts.whyToo}</p>
${new Html(form)}
<div class="actions">
<button class="first" type="submit" form="op.logoutForm" name="logout" value="yes" autofocus>${texts.signOut}</button>
<button type="submit" form="op.logoutForm">${texts.staySignedIn}</button>
</div>`,
  );
}

/** The last page of a logout without a `post_logout_redirect_uri`, whether or not the user chose to sign out. */
export function showSignedOut(ctx: KoaContextWithOIDC): void {
  const texts = chooseTexts(ctx.req);
  ctx.type = 'html';
  ctx.body = renderPage(texts, texts.done, html`<p>${texts.canClose}</p>`);
}

/** For errors without a verified redirect URI, which therefore cannot be returned to the application. */
export function showError(ctx: KoaContextWithOIDC, out: ErrorOut): void {
  const texts = chooseTexts(ctx.req);
  ctx.type = 'html';
  ctx.body = renderPage(
    texts,
    texts.failed,
    html`<p class="alarm" role="alert">${out.error}</p><p lang="en">${out.error_description}</p>`,
  );
}
