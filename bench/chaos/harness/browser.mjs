import { sendRequest } from './http.mjs';

const navigationHeaders = { accept: 'text/html', 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'document' };
const fetchHeaders = { accept: '*/*', 'sec-fetch-mode': 'cors', 'sec-fetch-dest': 'empty' };

/**
 * The simulated browser of one user: a cookie jar and the redirects of the sign-in. The caller acts as the load
 * balancer and passes the process that gets each request. Unexpected cookies and 401s are recorded as incidents of the
 * deployment.
 */
export class Browser {
  cookies = new Map();
  providerCookies = new Map();
  /** Whether new cookies and 401s are expected: during sign-in, and from sign-out on. */
  expectsChanges = false;

  constructor(deployment, name) {
    this.deployment = deployment;
    this.name = name;
  }

  /** Sends a request to one process of the app, as a script of its own page or, with `navigate`, as a navigation. */
  async send(instance, path, { navigate = false, headers = {}, ...options } = {}) {
    const { publicOrigin, app, incidents } = this.deployment;
    const response = await sendRequest(`http://127.0.0.1:${instance.port}${path}`, {
      ...options,
      headers: {
        host: new URL(publicOrigin).host,
        'sec-fetch-site': 'same-origin',
        ...(navigate ? navigationHeaders : fetchHeaders),
        ...(this.cookies.size > 0 && { cookie: formatCookies(this.cookies) }),
        ...headers,
      },
    });
    const setCookies = response.headers['set-cookie'] ?? [];
    if (!this.expectsChanges) {
      const details = { at: Date.now(), browser: this.name, via: instance.name, path };
      if (!setCookies.every(isMessage)) incidents.push({ kind: 'cookie', ...details });
      if (response.status === 401)
        incidents.push({ kind: app.isLoggedOut(response) ? 'logout' : 'api-401', ...details });
    }
    if (this.expectsChanges || setCookies.some((each) => clearsCookie(each)))
      storeCookies(this.cookies, setCookies);
    return response;
  }

  /** Follows all redirects from the app to the provider and back; throws unless the user is then signed in. */
  async signIn(instance) {
    this.expectsChanges = true;
    const response = await this.finishSignIn(instance, await this.startSignIn(instance));
    this.expectsChanges = false;
    this.signedInAt = Date.now();
    if (response.status !== 303 && response.status !== 302)
      throw new Error(
        `${this.name} cannot sign in: ${response.status} ${response.error ?? ''} ${response.body}`,
      );
  }

  /** Opens the sign-in in one tab: the response that redirects to the provider. */
  startSignIn(instance) {
    return this.send(instance, this.deployment.app.paths.login, { navigate: true });
  }

  /** Follows the remaining redirects of that tab, and returns the app's last response. */
  async finishSignIn(instance, firstResponse) {
    const { publicOrigin, provider } = this.deployment;
    let response = firstResponse;
    this.providerCookies = new Map();
    for (let hops = 0; response.headers.location !== undefined && hops < 10; hops += 1) {
      const next = new URL(response.headers.location, provider.issuer);
      if (next.origin === publicOrigin) {
        if (next.pathname === '/') break;
        response = await this.send(instance, next.pathname + next.search, { navigate: true });
        continue;
      }
      if (next.searchParams.has('client_id')) next.searchParams.set('login_hint', this.name);
      response = await this.#sendToProvider(next.href);
    }
    return response;
  }

  callApi(instance, { query = '', ...options } = {}) {
    return this.send(instance, this.deployment.app.paths.api + query, options);
  }

  /** Whether the app reports a signed-in user; undefined when it cannot say. */
  async isSignedIn(instance) {
    const response = await this.send(instance, this.deployment.app.paths.session);
    return response.status === 200 ? JSON.parse(response.body).authenticated : undefined;
  }

  refresh(instance, options = {}) {
    const { paths } = this.deployment.app;
    return this.send(instance, paths.refresh, {
      method: 'POST',
      ...options,
      headers: { accept: 'application/json' },
    });
  }

  /** `next`: where the response leads the browser, by a redirect or by a page that goes on. */
  async signOut(instance) {
    this.expectsChanges = true;
    const { publicOrigin, app } = this.deployment;
    const method = app.logoutMethod ?? 'POST';
    const headers = { origin: publicOrigin, 'content-type': 'application/x-www-form-urlencoded' };
    const response = await this.send(instance, app.paths.logout, {
      navigate: true,
      ...(method === 'POST' && { method, body: '', headers }),
    });
    const [, refresh] = /http-equiv="refresh" content="0;url=([^"]+)"/.exec(response.body) ?? [];
    return { ...response, next: response.headers.location ?? refresh?.replaceAll('&amp;', '&') };
  }

  /** When the app's logout response leads to the provider: confirms the logout there. */
  async signOutAtProvider({ next }) {
    const { issuer } = this.deployment.provider;
    if (!next?.startsWith(issuer)) return;
    const { body } = await this.#sendToProvider(next);
    const [, action] = /action="([^"]+)"/.exec(body) ?? [];
    const [, xsrf] = /name="xsrf" value="([^"]+)"/.exec(body) ?? [];
    if (!action || !xsrf)
      throw new Error(`the provider shows ${this.name} no form to confirm the logout: ${body}`);
    const { status } = await this.#sendToProvider(new URL(action, issuer), {
      method: 'POST',
      body: new URLSearchParams({ xsrf, logout: 'yes' }).toString(),
      headers: { 'content-type': 'application/x-www-form-urlencoded' },
    });
    if (status !== 303) throw new Error(`${this.name} cannot sign out at the provider: ${status}`);
  }

  /** Sends a navigation to the provider. */
  async #sendToProvider(url, { headers = {}, ...options } = {}) {
    const cookie = formatCookies(this.providerCookies);
    const response = await sendRequest(url, {
      ...options,
      headers: { cookie, ...navigationHeaders, ...headers },
    });
    storeCookies(this.providerCookies, response.headers['set-cookie'] ?? []);
    return response;
  }
}

function formatCookies(cookies) {
  return [...cookies].map(([name, value]) => `${name}=${value}`).join('; ');
}

/** The cookie with messages for the next page, which is not part of a session. */
function isMessage(setCookie) {
  return /^[^=]*latchkey[^=]*-flash/.test(setCookie);
}

function clearsCookie(setCookie) {
  return /;\s*(max-age=0|expires=[^;]*1970)/i.test(setCookie) || /^[^=]+=;/.test(setCookie);
}

function storeCookies(cookies, setCookies) {
  for (const each of setCookies) {
    const [, name, value] = /^([^=]+)=([^;]*)/.exec(each) ?? [];
    if (clearsCookie(each)) cookies.delete(name);
    else cookies.set(name, value);
  }
}
