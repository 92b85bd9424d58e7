import http from 'node:http';
import { CookieJar } from 'tough-cookie';

/** The names of Latchkey's cookies for an origin. */
export function cookieNames(origin: string): { readonly session: string; readonly login: string } {
  const { protocol, port } = new URL(origin);
  const session = `${protocol === 'https:' ? '__Host-Http-' : ''}latchkey${port && `-${port}`}`;
  return { session, login: `${session}-login` };
}

/** A response, and the URL it came from. */
export interface Page {
  readonly status: number;
  readonly url: string;
  readonly headers: http.IncomingHttpHeaders;
  readonly text: string;
}

interface RequestOptions {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
}

/** One request and its response, each as a single text. */
export interface Exchange {
  readonly url: string;
  readonly request: string;
  readonly response: string;
}

/**
 * A small browser: cookie jar, Fetch Metadata, redirects, forms. Concurrent navigations of one browser act as its tabs.
 * It uses node:http because `fetch` in Node sets its own Fetch Metadata headers.
 */
export class Browser {
  readonly jar: CookieJar;
  readonly exchanges: Exchange[] = [];

  constructor(
    readonly origin: string,
    jar = new CookieJar(undefined, { rejectPublicSuffixes: false }),
    /** A proxy that terminates TLS for `origin`: where it forwards requests to, and the headers it adds. */
    private readonly proxy?: { readonly to: string; readonly headers: Readonly<Record<string, string>> },
  ) {
    this.jar = jar;
  }

  /** Navigates once, without following redirects. `from` is the URL of the page that started the navigation. */
  async step(
    address: string,
    { from, chain = [], ...options }: RequestOptions & { from?: string; chain?: readonly string[] } = {},
  ): Promise<Page> {
    const url = new URL(address, this.origin).href;
    return this.send(url, {
      ...options,
      headers: {
        accept: 'text/html,application/xhtml+xml,*/*;q=0.8',
        'sec-fetch-mode': 'navigate',
        'sec-fetch-dest': 'document',
        'sec-fetch-site': from === undefined ? 'none' : leastTrustedSite([from, ...chain], url),
        ...(from !== undefined && options.method === 'POST' && { origin: new URL(from).origin }),
        ...options.headers,
      },
    });
  }

  /**
   * Navigates and follows every redirect, those of our own pages too (`<meta http-equiv="refresh">`, which starts a new
   * redirect chain); a URL for which `until` returns true is returned instead of requested.
   */
  async go(
    address: string,
    { until, ...options }: RequestOptions & { from?: string; until?: (url: string) => boolean } = {},
  ): Promise<Page> {
    let page = await this.step(address, options);
    let { from } = options;
    let chain: string[] = []; // Sec-Fetch-Site depends on every URL of the redirect chain
    for (let hops = 0; page.status < 400; hops += 1) {
      const refresh = /<meta http-equiv="refresh" content="0;url=([^"]*)">/.exec(page.text)?.[1];
      const target = page.headers.location ?? refresh?.replaceAll('&amp;', '&');
      if (target === undefined) return page;
      if (hops > 15) throw new Error(`too many redirects, at ${page.url}`);
      const next = new URL(target, page.url).href;
      if (until?.(next)) return { ...page, url: next };
      if (page.headers.location === undefined) [from, chain] = [page.url, []];
      else chain.push(page.url);
      page = await this.step(next, { chain, ...(from !== undefined && { from }) });
    }
    return page;
  }

  /** Submits the page's first form whose action contains `action`, with these fields, and follows redirects. */
  async submit(
    page: Page,
    fields: Readonly<Record<string, string | readonly string[]>>,
    { action = '', until }: { action?: string; until?: (url: string) => boolean } = {},
  ): Promise<Page> {
    const form = [...page.text.matchAll(/<form[^>]*action="([^"]*)"[^>]*>/g)].find(([, each]) =>
      each!.includes(action),
    );
    if (!form) throw new Error(`no form for ${action} on ${page.url}: ${page.text.slice(0, 500)}`);
    const body = new URLSearchParams();
    for (const [name, values] of Object.entries(fields))
      for (const value of [values].flat()) body.append(name, value);
    return this.go(new URL(form[1]!.replaceAll('&amp;', '&'), page.url).href, {
      method: 'POST',
      from: page.url,
      headers: { 'content-type': 'application/x-www-form-urlencoded' },
      body: body.toString(),
      ...(until && { until }),
    });
  }

  /** A `fetch` call as a script of our own page makes it; redirects are not followed. */
  async fetch(path: string, options: RequestOptions = {}): Promise<Page & { json(): unknown }> {
    const page = await this.send(new URL(path, this.origin).href, {
      ...options,
      headers: {
        accept: '*/*',
        'sec-fetch-mode': 'cors',
        'sec-fetch-dest': 'empty',
        'sec-fetch-site': 'same-origin',
        ...options.headers,
      },
    });
    return { ...page, json: () => JSON.parse(page.text) };
  }

  /** The value of a cookie for our origin, as sent in the `Cookie` header. */
  async cookie(name: string): Promise<string | undefined> {
    return (await this.jar.getCookies(this.origin)).find((each) => each.key === name)?.value;
  }

  /** The value of Latchkey's session cookie. */
  sessionCookie(): Promise<string | undefined> {
    return this.cookie(cookieNames(this.origin).session);
  }

  /** The value of Latchkey's login cookie. */
  loginCookie(): Promise<string | undefined> {
    return this.cookie(cookieNames(this.origin).login);
  }

  async send(url: string, { method = 'GET', headers = {}, body }: RequestOptions): Promise<Page> {
    const cookie = await this.jar.getCookieString(url);
    const isProxied = this.proxy !== undefined && url.startsWith(this.origin);
    const target = isProxied ? url.replace(this.origin, this.proxy.to) : url;
    const sentHeaders = {
      ...headers,
      ...(isProxied && this.proxy.headers),
      ...(cookie && { cookie }),
      ...(body !== undefined && { 'content-length': String(Buffer.byteLength(body)) }),
    };
    const page = await new Promise<Page>((resolve, reject) => {
      const request = http.request(target, { method, headers: sentHeaders, agent: false }, (response) => {
        let text = '';
        response.setEncoding('utf8');
        response.on('data', (chunk) => {
          text += chunk;
        });
        response.on('end', () =>
          resolve({ status: response.statusCode ?? 0, url, headers: response.headers, text }),
        );
        response.on('error', reject);
      });
      request.on('error', reject);
      request.end(body);
    });
    for (const each of page.headers['set-cookie'] ?? [])
      await this.jar.setCookie(each, url, { ignoreError: true });
    this.exchanges.push({
      url,
      request: `${method} ${url}\n${JSON.stringify(sentHeaders)}\n${body ?? ''}`,
      response: `${page.status}\n${JSON.stringify(page.headers)}\n${page.text}`,
    });
    return page;
  }
}

function leastTrustedSite(chain: readonly string[], to: string): string {
  const sites = chain.map((each) => siteRelation(each, to));
  return ['cross-site', 'same-site'].find((each) => sites.includes(each)) ?? 'same-origin';
}

function siteRelation(from: string, to: string): string {
  const [a, b] = [new URL(from), new URL(to)];
  if (a.origin === b.origin) return 'same-origin';
  return a.hostname === b.hostname ? 'same-site' : 'cross-site'; // a site does not include the port
}
