import { fileURLToPath } from 'node:url';
import type { Request, RequestHandler, Response } from 'express';
import { createScopeLabels } from '../../../demo/texts.ts';
import { createI18n } from '../../../src/pages/i18n.ts';
import { openViewFolders } from '../../../src/pages/view-folders.ts';
import type { TokenStore } from '../../../src/tokens/token-store.ts';
import { failAtStep } from '../../support/fail-at-step.ts';
import { writeRoutesFile } from '../../support/routes-file.ts';
import { createWorld, type World } from '../../support/world.ts';

const providerName = 'Demo ID';

export interface PagesFaults {
  /** The store cannot be read (`unavailable`), or reading it fails for a reason that nobody has thought of (`broken`). */
  readonly store?: 'unavailable' | 'broken';
  /** The list of sessions cannot be read. */
  readonly isSessionListUnavailable?: true;
  /** The name of a rate limit that every request exceeds. */
  readonly exceededLimit?: 'auth' | 'POST /small';
}

/** A world whose stores and rate limit can be made to fail. */
export interface PagesWorld extends World {
  /** These faults, and no others, apply from now on. */
  setFaults(faults: PagesFaults): void;
  /** The page that was rendered last, as it is in another language. */
  renderLastPage(lang: string): Promise<string>;
}

/** Routes of each kind that has a page of its own, and one with a long path. */
export const manyRoutes = [
  { path: '/profile', target: '/api/user/profile', methods: { GET: {} } },
  { path: '/data', target: '/api/user/data', methods: { GET: {}, POST: { allOf: ['write:data'] } } },
  {
    path: '/archives/:year/documents-of-all-departments/:documentId/*file',
    target: '/archive/:year/:documentId/*file',
    methods: { PUT: {} },
  },
  { path: '/slow', target: '/api/user/data', methods: { GET: {} }, timeoutSeconds: 1 },
  { path: '/unsaved', target: '/api/user/data', methods: { POST: {} }, saveForms: false },
  { path: '/app', target: '/api/user/data', methods: { GET: {} }, token: 'app' },
  {
    path: '/small',
    target: '/api/user/data',
    methods: { POST: {} },
    bodyLimitBytes: 1_000,
    rateLimit: { limit: 600, windowSeconds: 60 },
  },
];

export async function createPagesWorld(routes: 'default' | 'many' = 'default'): Promise<PagesWorld> {
  let faults: PagesFaults = {};
  const { recordPages, renderLastPage } = createPageRecorder();
  const findStep: { name: string | undefined } = { name: undefined };
  const world = await createWorld({
    env: {
      OAUTH2_SCOPES: 'openid profile email read:profile read:data write:data',
      OAUTH2_PROVIDER_NAME: providerName,
      OAUTH2_SCOPE_LABELS: createScopeLabels(),
      AUTH_RATE_LIMIT: '600',
      ...(routes === 'many' && { API_ROUTES_FILE: writeRoutesFile(manyRoutes) }),
    },
    own: { middleware: [recordPages] },
    wrap: ({ tokenStore, sessionIndex }) => ({
      tokenStore: failReads(tokenStore, () => faults.store),
      sessionIndex: failAtStep(sessionIndex, findStep),
      rateLimitStore: (name) => createRateLimitStore(() => faults.exceededLimit === name),
    }),
  });
  return {
    ...world,
    renderLastPage,
    setFaults(next) {
      faults = next;
      findStep.name = next.isSessionListUnavailable && 'find';
    },
  };
}

function createPageRecorder() {
  let renderLast: ((lang: string) => Promise<string>) | undefined;
  const folder = (name: string) => fileURLToPath(new URL(`../../../${name}`, import.meta.url));
  const { texts: translations } = openViewFolders(
    { views: folder('views'), assets: folder('public') },
    undefined,
  );
  const { texts } = createI18n(translations, { app: 'Latchkey', provider: providerName });

  const recordPages: RequestHandler = (_req, res, next) => {
    const render = res.render.bind(res);
    res.render = (view: string, values: object = {}) => {
      renderLast = (lang) =>
        new Promise((resolve, reject) => {
          const locals = { ...res.locals, ...values };
          const req: Pick<Request, 'acceptsLanguages'> = {
            acceptsLanguages: ((tags?: readonly string[]) =>
              tags ? lang : [lang]) as Request['acceptsLanguages'],
          };
          texts(req as Request, { locals, vary() {} } as unknown as Response, () =>
            res.app.render(view, locals, (error, html) => (error ? reject(error) : resolve(html))),
          );
        });
      render(view, values);
    };
    next();
  };
  return { recordPages, renderLastPage: (lang: string) => renderLast!(lang) };
}

function failReads(store: TokenStore, getFault: () => PagesFaults['store']): TokenStore {
  const unavailable = failAtStep(store, { name: 'get' });
  const get: TokenStore['get'] = (...args) => {
    const fault = getFault();
    if (fault === 'broken') return Promise.reject(new Error('not thought of'));
    return fault === 'unavailable' ? unavailable.get(...args) : store.get(...args);
  };
  return new Proxy(store, {
    get(_target, name) {
      const value = name === 'get' ? get : Reflect.get(store, name);
      return typeof value === 'function' ? value.bind(store) : value;
    },
  });
}

function createRateLimitStore(isExceeded: () => boolean) {
  return {
    increment: () => ({
      totalHits: isExceeded() ? 601 : 1,
      resetTime: new Date(Date.now() + 42_000),
    }),
    decrement() {},
    resetKey() {},
  };
}
