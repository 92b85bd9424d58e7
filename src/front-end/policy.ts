import type { FrontEndSettings } from '../config/front-end/fields.ts';

interface PolicyOptions {
  readonly configured: FrontEndSettings['policy'];
  /** True for a development server: its pages have inline scripts, `eval`, and WebSockets of their own. */
  readonly isDevelopment: boolean;
  readonly isHttps: boolean;
}

/** For a front end that a bundler has built: its scripts are files, its styles may be set by scripts. */
const defaultDirectives = {
  'default-src': "'self'",
  'script-src': "'self' 'wasm-unsafe-eval'",
  'style-src': "'self' 'unsafe-inline'",
  'img-src': "'self' https: data: blob:",
  'font-src': "'self' data:",
  'media-src': "'self' data: blob:",
  'worker-src': "'self' blob:",
  'connect-src': "'self' data: blob:",
  'object-src': "'none'",
  'base-uri': "'self'",
  'form-action': "'self'",
  'frame-ancestors': "'none'",
};
const developmentDirectives = {
  'script-src': "'self' 'unsafe-inline' 'unsafe-eval' blob:",
  'connect-src': "'self' data: blob: ws: wss: http: https:",
};

/** The Content-Security-Policy of the front end; `undefined` for none. */
export function buildPolicy({ configured, isDevelopment, isHttps }: PolicyOptions): string | undefined {
  if (configured === 'none') return undefined;
  const directives: Readonly<Record<string, string>> = {
    ...defaultDirectives,
    ...(isDevelopment && developmentDirectives),
    ...(isHttps && { 'upgrade-insecure-requests': '' }),
    ...configured,
  };
  return Object.entries(directives)
    .map(([name, value]) => (value === '' ? name : `${name} ${value}`))
    .join('; ');
}
