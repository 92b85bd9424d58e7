import type { Settings } from './environment.ts';
import type { Report } from './instances.ts';

export interface SummaryOptions {
  readonly settings: Settings;
  readonly report: Report;
  readonly demo: { readonly issuer: string; readonly apiUrl: string } | undefined;
  /** What is watched, such as `src/`. */
  readonly watched: readonly string[];
}

/** What runs where, for the terminal; never a value that is secret. */
export function formatSummary({ settings, report, demo, watched }: SummaryOptions): string {
  const { get, ignored, namesInFile } = settings;
  const from = (name: string) => {
    const source = settings.sourceOf(name);
    return source === 'default' ? '' : ` (${name}, from ${describe(source)})`;
  };
  const frontEnd = ['APP_URL', 'APP_DIR'].find(get);
  const apis = report.apis.length === 0 ? 'none' : report.apis.join(', ');
  const table = get('API_ROUTES_FILE') ? ` in ${get('API_ROUTES_FILE')}` : '';
  const rows: (readonly [string, string] | false)[] = [
    [
      'Open',
      `${report.origin}${report.origin.endsWith(`:${settings.port}`) ? '' : `; Latchkey listens on port ${settings.port}`}`,
    ],
    [
      'Sign in',
      demo
        ? `as alice or bob, with any password: demo provider at ${demo.issuer}`
        : `at ${get('OAUTH2_ISSUER') ?? get('OAUTH2_PROVIDER') ?? get('OAUTH2_AUTHORIZATION_URL')}; register ${report.redirectUri} there`,
    ],
    [
      'API',
      `/api/* to ${settings.usesDemoApi ? 'the demo API, ' : ''}${apis}${from('OAUTH2_API_BASE_URL')}; ${report.routes} ${report.routes === 1 ? 'route' : 'routes'}${table}`,
    ],
    ['Front end', frontEnd ? `${get(frontEnd)}${from(frontEnd)}` : "Latchkey's own pages; yours with --spa"],
    [
      'Sessions',
      report.hasRedis ? 'in Redis (REDIS_URL)' : 'in memory; they survive restarts, but not Ctrl-C',
    ],
    ['.env', namesInFile.length === 0 ? 'none, or nothing in it that counts' : namesInFile.join(', ')],
    ignored.length > 0 && [
      'Ignored',
      `${ignored.join(', ')}, because the demo provider is used: set OAUTH2_ISSUER or OAUTH2_PROVIDER to use yours`,
    ],
    ['Restarts', `after changes of ${watched.join(', ')}`],
    ['Stop', 'Ctrl-C'],
  ];
  const lines = rows.filter((row) => row !== false).map(([name, text]) => `  ${name.padEnd(10)}${text}`);
  return ['Latchkey runs for development.', '', ...lines, ''].join('\n');
}

function describe(source: string): string {
  return { option: 'the command line', environment: 'the environment' }[source] ?? source;
}
