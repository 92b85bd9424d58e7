import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parse } from 'dotenv';
import { SetupError } from '../ports.ts';
import { createScopeLabels } from '../texts.ts';
import type { Options } from './options.ts';

export type Variables = Readonly<Record<string, string>>;

/** The demo provider and API, as Latchkey reaches them. */
export interface DemoSettings {
  readonly issuer: string;
  readonly clientId: string;
  readonly clientSecret: string;
  readonly apiUrl: string;
}

/** Where a variable comes from. */
export type Source = 'option' | 'environment' | '.env' | 'default';

/** What the developer has set. */
export interface Settings {
  /** The value of a variable; `undefined` when it is not set or empty. */
  get(name: string): string | undefined;
  sourceOf(name: string): Source;
  readonly port: number;
  /** The names that .env sets and nothing overrides. */
  readonly namesInFile: readonly string[];
  /** Whether the demo provider is used, because no provider is configured. */
  readonly usesDemoProvider: boolean;
  /** Whether the demo API is used, because neither an API nor a route table is configured. */
  readonly usesDemoApi: boolean;
  /** The variables of another provider, which have no effect together with the demo provider. */
  readonly ignored: readonly string[];
  /** The files, and the folder with texts, that the settings name, besides .env itself. */
  readonly files: readonly string[];
}

/** Each of these names a provider. */
const providerVariables = [
  'OAUTH2_PROVIDER',
  'OAUTH2_ISSUER',
  'OAUTH2_AUTHORIZATION_URL',
  'OAUTH2_TOKEN_URL',
];
/** What is registered at a provider or describes it, so that it cannot apply to the demo provider. */
const ofProvider =
  /^OAUTH2_(CLIENT_(ID|SECRET|SECRET_NEXT|AUTH)|(REVOCATION|USERINFO|END_SESSION|JWKS)_URL|USERINFO_CLAIMS|(AUTHORIZATION|TOKEN)_PARAMS|DEVIATIONS)(_FILE)?$/;
const fileVariable = /^(API_ROUTES|(OAUTH2|SESSION|REDIS)_\w+)_FILE$/;
const defaultScopes = ['openid', 'profile', 'email'];
const demoApiScopes = ['read:profile', 'read:data', 'write:data'];
/** Sends every path to the API that `--api` names. */
const allRoutesFile = fileURLToPath(new URL('./api-routes.json', import.meta.url));

/** @throws SetupError when .env cannot be read, or when the settings are those of production */
export function readSettings(env: NodeJS.ProcessEnv, folder: string, options: Options): Settings {
  const file = readEnvFile(resolve(folder, '.env'));
  const inherited = Object.fromEntries(Object.entries(env).filter(([, value]) => value !== undefined));
  const set: NodeJS.ProcessEnv = { ...file, ...inherited, ...options.variables };
  const get = (name: string) => set[name]?.trim() || undefined;
  if (get('NODE_ENV') === 'production') {
    throw new SetupError(
      'NODE_ENV is production, where neither restarts nor the demo provider may run. Unset it for development; in production, start the server with: npm start',
    );
  }
  const usesDemoProvider = !providerVariables.some(get);
  const port = Number(get('PORT') ?? 3000);
  return {
    get,
    sourceOf(name) {
      if (options.variables[name]) return 'option';
      if (name in inherited) return 'environment';
      return name in file ? '.env' : 'default';
    },
    port,
    namesInFile: Object.keys(file).filter((name) => !(name in inherited) && !(name in options.variables)),
    usesDemoProvider,
    usesDemoApi: usesDemoProvider && !get('OAUTH2_API_BASE_URL') && !get('API_ROUTES_FILE'),
    ignored: usesDemoProvider ? Object.keys(set).filter((name) => ofProvider.test(name) && get(name)) : [],
    files: Object.keys(set).flatMap((name) => {
      const path = get(name);
      if (!path) return [];
      if (name === 'VIEWS_DIR') return [resolve(folder, path, 'texts')];
      return fileVariable.test(name) ? [resolve(folder, path)] : [];
    }),
  };
}

/**
 * What Latchkey's process needs besides .env, which it reads itself: the options, and defaults for what is not set. A
 * variable that is set to nothing hides the one in .env.
 */
export function createOverrides(
  settings: Settings,
  options: Options,
  { sessionSecret, demo }: { readonly sessionSecret: string; readonly demo: DemoSettings | undefined },
): Variables {
  const { get, port } = settings;
  const overrides: Record<string, string> = { ...options.variables };
  const setDefault = (name: string, value: string) => {
    if (!get(name)) overrides[name] = value;
  };
  setDefault('NODE_ENV', 'development');
  setDefault('PORT', String(port));
  setDefault('LOG_FORMAT', 'pretty');
  setDefault('OAUTH2_REDIRECT_URI', `http://localhost:${port}/auth/callback`);
  if (!get('SESSION_SECRET_FILE')) setDefault('SESSION_SECRET', sessionSecret);
  if (options.variables.OAUTH2_API_BASE_URL) setDefault('API_ROUTES_FILE', allRoutesFile);
  if (demo) {
    for (const name of settings.ignored) overrides[name] = '';
    overrides.OAUTH2_ISSUER = demo.issuer;
    overrides.OAUTH2_CLIENT_ID = demo.clientId;
    overrides.OAUTH2_CLIENT_SECRET = demo.clientSecret;
    setDefault('OAUTH2_PROVIDER_NAME', 'Demo ID');
    if (settings.usesDemoApi) {
      overrides.OAUTH2_API_BASE_URL = demo.apiUrl;
      setDefault('OAUTH2_SCOPE_LABELS', createScopeLabels());
    }
    setDefault('OAUTH2_SCOPES', [...defaultScopes, ...(settings.usesDemoApi ? demoApiScopes : [])].join(' '));
  }
  if (options.scopes.length > 0) {
    const scopes = (overrides.OAUTH2_SCOPES ?? get('OAUTH2_SCOPES'))?.split(/\s+/) ?? defaultScopes;
    overrides.OAUTH2_SCOPES = [...new Set([...scopes, ...options.scopes])].join(' ');
  }
  return overrides;
}

function readEnvFile(path: string): Variables {
  try {
    return parse(readFileSync(path));
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return {};
    throw new SetupError(`.env cannot be read: ${error instanceof Error ? error.message : error}`);
  }
}
