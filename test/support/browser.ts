import http from 'node:http';
import { CookieJar } from 'tough-cookie';

/** What came back, and how it was come by. */
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

/** Everything a browser sent and got, as one text each. */
export interface Exchange {
  readonly url: string;
  readonly request: string;
  readonly response: string;
}

/**
 * A small browser: cookie jar, Fetch Metadata, redirects, forms. Several navigations of one browser are its tabs.
 * It speaks node:http, because `fetch` in Node says of itself that it is `fetch`.
 */
export class Browser {
  readonly jar: CookieJar;
  readonly exchanges: Exchange[] = [];

  constructor(
    readonly origin: string,
    jar = new CookieJar(undefined, { rejectPublicSuffixes: false }),
    /** A proxy that ends TLS for `origin`: where it passes requests on to, and the headers it adds. */
    private readonly proxy?: { readonly to: string; readonly headers: Readonly<Record<string, string>> },
  ) {
    this.jar = jar;
  }

  /** One navigation without following redirects. `from` is the address of the page that led there. */
  async step(
    address: string,
    { from, chain = [], ...sending }: RequestOptions & { from?: string; chain?: readonly string[] } = {},
  ): Promise<Page> {
    const url = new URL(address, this.origin).href;
    return this.send(url, {
      ...sending,
      headers: {
        accept: 'text/html,application/xhtml+xml,*/*;q=0.8',
        'sec-fetch-mode': 'navigate',
        'sec-fetch-dest': 'document',
        'sec-fetch-site': from === undefined ? 'none' : worstSite([from, ...chain], url),
        ...(from !== undefined && sending.method === 'POST' && { origin: new URL(from).origin }),
        ...sending.headers,
      },
    });
  }

  /** A navigation to its end, through every redirect; `until` stops it before an address is opened. */
  async go(
    address: string,
    { until, ...how }: RequestOptions & { from?: string; until?: (url: string) => boolean } = {},
  ): Promise<Page> {
    let page = await this.step(address, how);
    const chain: string[] = []; // Fetch Metadata judges every address a navigation was led through
    for (let hops = 0; page.headers.location !== undefined && page.status < 400; hops += 1) {
      if (hops > 15) throw new Error(`too many redirects, at ${page.url}`);
      const next = new URL(page.headers.location, page.url).href;
      if (until?.(next)) return { ...page, url: next };
      chain.push(page.url);
      page = await this.step(next, { chain, ...(how.from !== undefined && { from: how.from }) });
    }
    return page;
  }

  /** Presses `button` (a name and value) in the page's form that posts to an address with `action` in it. */
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

  /** What a script of our own page does with `fetch`; redirects are not followed. */
  async fetch(path: string, sending: RequestOptions = {}): Promise<Page & { json(): unknown }> {
    const page = await this.send(new URL(path, this.origin).href, {
      ...sending,
      headers: {
        accept: '*/*',
        'sec-fetch-mode': 'cors',
        'sec-fetch-dest': 'empty',
        'sec-fetch-site': 'same-origin',
        ...sending.headers,
      },
    });
    return { ...page, json: () => JSON.parse(page.text) };
  }

  /** The value of a cookie of our origin, as it is sent. */
  async cookie(name: string): Promise<string | undefined> {
    return (await this.jar.getCookies(this.origin)).find((each) => each.key === name)?.value;
  }

  async send(url: string, { method = 'GET', headers = {}, body }: RequestOptions): Promise<Page> {
    const cookie = await this.jar.getCookieString(url);
    const isProxied = this.proxy !== undefined && url.startsWith(this.origin);
    const reached = isProxied ? url.replace(this.origin, this.proxy.to) : url;
    const sent = {
      ...headers,
      ...(isProxied && this.proxy.headers),
      ...(cookie && { cookie }),
      ...(body !== undefined && { 'content-length': String(Buffer.byteLength(body)) }),
    };
    const page = await new Promise<Page>((resolve, reject) => {
      const request = http.request(reached, { method, headers: sent, agent: false }, (response) => {
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
      request: `${method} ${url}\n${JSON.stringify(sent)}\n${body ?? ''}`,
      response: `${page.status}\n${JSON.stringify(page.headers)}\n${page.text}`,
    });
    return page;
  }
}

function worstSite(chain: readonly string[], to: string): string {
  const sites = chain.map((each) => site(each, to));
  return ['cross-site', 'same-site'].find((each) => sites.includes(each)) ?? 'same-origin';
}

function site(from: string, to: string): string {
  const [a, b] = [new URL(from), new URL(to)];
  if (a.origin === b.origin) return 'same-origin';
  return a.hostname === b.hostname ? 'same-site' : 'cross-site'; // sites do not tell ports apart
}
