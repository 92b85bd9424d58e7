import { existsSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { SetupError } from '../ports.ts';

/** What the command line sets, as environment variables. */
export interface Options {
  readonly variables: Readonly<Record<string, string>>;
  /** Scopes that sign-ins request in addition. */
  readonly scopes: readonly string[];
}

export const usage = `Usage: latchkey dev [options]

Runs Latchkey for development: with the settings in .env and in the environment, with a demo provider if no provider is
configured, and again after every change of .env, of the route table and of the texts. Sessions survive these restarts.

  --api URL       the API that receives every request under /api, with the user's token: /api/orders goes to URL/orders
                  (sets OAUTH2_API_BASE_URL; with API_ROUTES_FILE, your route table decides)
  --spa URL|DIR   your front end on the same origin: the address of its development server, or the folder of its build
                  (sets APP_URL or APP_DIR)
  --port PORT     the port of Latchkey (sets PORT; 3000)
  --scope SCOPE   a scope that sign-ins request in addition; may be repeated
  --help

Options take precedence over environment variables, and these over .env.
`;

const optionTypes = {
  api: { type: 'string' },
  spa: { type: 'string' },
  port: { type: 'string' },
  scope: { type: 'string', multiple: true },
  help: { type: 'boolean', short: 'h', default: false },
} as const;

/** @throws SetupError for wrong arguments */
export function parseOptions(args: readonly string[]): Options | 'help' {
  const values = parse(args);
  if (values.help) return 'help';
  return {
    variables: {
      ...(values.port !== undefined && { PORT: readPortOption(values.port) }),
      ...(values.api !== undefined && { OAUTH2_API_BASE_URL: readUrl('--api', values.api) }),
      ...(values.spa !== undefined && readFrontEnd(values.spa)),
    },
    scopes: (values.scope ?? []).flatMap(readScopes),
  };
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({ args: [...args], options: optionTypes }).values;
  } catch (error) {
    // Without the name of the error, and without the hint about positional arguments.
    const message = String(error)
      .replace(/^\w+( \[\w+\])?: /, '')
      .split('. ')[0];
    throw new SetupError(`latchkey dev: ${message}\n\n${usage.trimEnd()}`);
  }
}

function readPortOption(value: string): string {
  if (!/^\d{1,5}$/.test(value) || Number(value) < 1 || Number(value) > 65_535)
    throw new SetupError(
      `--port must be a port number from 1 to 65535, such as --port 3100; it is ${value}.`,
    );
  return value;
}

function readUrl(option: string, value: string): string {
  if (!URL.canParse(value) || !/^https?:$/.test(new URL(value).protocol))
    throw new SetupError(
      `${option} must be an http or https URL, such as http://localhost:4000; it is ${value}.`,
    );
  return value;
}

function readFrontEnd(value: string): Readonly<Record<string, string>> {
  if (/^https?:\/\//.test(value)) return { APP_URL: readUrl('--spa', value), APP_DIR: '' };
  if (!existsSync(value)) {
    throw new SetupError(
      `--spa must be a URL, such as http://localhost:5173, or a folder; there is no folder ${value}.`,
    );
  }
  return { APP_DIR: value, APP_URL: '' };
}

function readScopes(value: string): readonly string[] {
  const scopes = value.split(/[ ,]+/).filter((each) => each !== '');
  if (scopes.length === 0) throw new SetupError('--scope must name a scope, such as --scope orders:read.');
  return scopes;
}
