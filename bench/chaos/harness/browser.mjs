import { exchange } from './http.mjs';

const navigation = { accept: 'text/html', 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'document' };
const script = { accept: '*/*', 'sec-fetch-mode': 'cors', 'sec-fetch-dest': 'empty' };

/**
 * One person: a cookie jar for the app and the way through its sign-in. The balancer is the caller, who says which
 * process each request goes to. Everything that may not happen unasked is noted in `incidents`.
 */
export class Browser {
  cookies = new Map();
  /** The provider's cookies. */
  atProvider = new Map();
  /** Whether signing in or out is under way or done, when cookies may change and a 401 is no surprise. */
  mayChange = false;

  constructor(world, name) {
    this.world = world;
    this.name = name;
  }

  /** One request to a process of the app, as a script of its own page or, with `navigate`, as a navigation. */
  async send(instance, path, { navigate = false, headers = {}, ...how } = {}) {
    const { publicOrigin, app, incidents } = this.world;
    const answer = await exchange(`http://127.0.0.1:${instance.port}${path}`, {
      ...how,
      headers: {
        host: new URL(publicOrigin).host,
        'sec-fetch-site': 'same-origin',
        ...(navigate ? navigation : script),
        ...(this.cookies.size > 0 && { cookie: cookieHeader(this.cookies) }),
        ...headers,
      },
    });
    const set = answer.headers['set-cookie'] ?? [];
    if (!this.mayChange) {
      const what = { at: Date.now(), browser: this.name, via: instance.name, path };
      if (set.length > 0) incidents.push({ kind: 'cookie', ...what });
      if (answer.status === 401)
        incidents.push({ kind: app.isLoggedOut(answer) ? 'logout' : 'api-401', ...what });
    }
    if (this.mayChange || set.some((each) => isCleared(each))) keep(this.cookies, set);
    return answer;
  }

  /** The whole redirect chain, app to provider and back; throws when it does not end signed in. */
  async signIn(instance) {
    this.mayChange = true;
    const answer = await this.finishSignIn(instance, await this.beginSignIn(instance));
    this.mayChange = false;
    this.signedInAt = Date.now();
    if (answer.status !== 303 && answer.status !== 302)
      throw new Error(`${this.name} cannot sign in: ${answer.status} ${answer.error ?? ''} ${answer.body}`);
  }

  /** A tab on its way to the provider. */
  beginSignIn(instance) {
    return this.send(instance, this.world.app.paths.login, { navigate: true });
  }

  /** The rest of the way of that tab: the app's last answer. */
  async finishSignIn(instance, begun) {
    const { publicOrigin, provider } = this.world;
    let answer = begun;
    this.atProvider = new Map();
    for (let hops = 0; answer.headers.location !== undefined && hops < 10; hops += 1) {
      const next = new URL(answer.headers.location, provider.issuer);
      if (next.origin === publicOrigin) {
        if (next.pathname === '/') break;
        answer = await this.send(instance, next.pathname + next.search, { navigate: true });
        continue;
      }
      if (next.searchParams.has('client_id')) next.searchParams.set('login_hint', this.name);
      answer = await this.#ask(next.href);
    }
    return answer;
  }

  api(instance, { query = '', ...how } = {}) {
    return this.send(instance, this.world.app.paths.api + query, how);
  }

  /** Whether the app says that somebody is signed in; undefined when it cannot say. */
  async isSignedIn(instance) {
    const answer = await this.send(instance, this.world.app.paths.session);
    return answer.status === 200 ? JSON.parse(answer.body).authenticated : undefined;
  }

  refresh(instance, how = {}) {
    const { paths } = this.world.app;
    return this.send(instance, paths.refresh, {
      method: 'POST',
      ...how,
      headers: { accept: 'application/json' },
    });
  }

  /** Signs out; from here on a 401 is what the person asked for. */
  async logOut(instance) {
    this.mayChange = true;
    const { publicOrigin, app } = this.world;
    const method = app.logoutMethod ?? 'POST';
    if (method === 'GET') return this.send(instance, app.paths.logout, { navigate: true });
    const headers = { origin: publicOrigin, 'content-type': 'application/x-www-form-urlencoded' };
    return this.send(instance, app.paths.logout, { method, navigate: true, body: '', headers });
  }

  /** Goes on to the provider if the answer to a logout says so, and wants to be signed out there too. */
  async logOutAtProvider({ headers: { location } }) {
    const { issuer } = this.world.provider;
    if (!location?.startsWith(issuer)) return;
    const { body } = await this.#ask(location);
    const [, action] = /action="([^"]+)"/.exec(body) ?? [];
    const [, xsrf] = /name="xsrf" value="([^"]+)"/.exec(body) ?? [];
    if (!action || !xsrf)
      throw new Error(`the provider does not ask ${this.name} whether to sign out: ${body}`);
    const { status } = await this.#ask(new URL(action, issuer), {
      method: 'POST',
      body: new URLSearchParams({ xsrf, logout: 'yes' }).toString(),
      headers: { 'content-type': 'application/x-www-form-urlencoded' },
    });
    if (status !== 303) throw new Error(`${this.name} cannot sign out at the provider: ${status}`);
  }

  /** A navigation at the provider. */
  async #ask(url, { headers = {}, ...how } = {}) {
    const cookie = cookieHeader(this.atProvider);
    const answer = await exchange(url, { ...how, headers: { cookie, ...navigation, ...headers } });
    keep(this.atProvider, answer.headers['set-cookie'] ?? []);
    return answer;
  }
}

function cookieHeader(cookies) {
  return [...cookies].map(([name, value]) => `${name}=${value}`).join('; ');
}

function isCleared(setCookie) {
  return /;\s*(max-age=0|expires=[^;]*1970)/i.test(setCookie) || /^[^=]+=;/.test(setCookie);
}

function keep(cookies, set) {
  for (const each of set) {
    const [, name, value] = /^([^=]+)=([^;]*)/.exec(each) ?? [];
    if (isCleared(each)) cookies.delete(name);
    else cookies.set(name, value);
  }
}
