import {
  type ConfigProblem,
  nameFileVariable,
  secretVariables,
  type Variable,
  variables,
} from '../fields.ts';
import { isInjectedByKubernetes } from '../unknown-variables.ts';
import { readSecretFile } from './secret-file.ts';

export type Environment = Readonly<Record<string, string | undefined>>;

export interface Settings {
  readonly set: Readonly<Partial<Record<Variable, string>>>;
  /** The variables whose value comes from the file that their `_FILE` twin names. */
  readonly fromFile: ReadonlySet<Variable>;
  readonly problems: readonly ConfigProblem[];
  readonly notices: readonly string[];
}

/**
 * The variables that are set in `env`, or in a file that the `_FILE` twin of a secret names. Those that Kubernetes creates
 * for a service named `metrics` are not set, with a notice.
 */
export function readEnvironment(env: Environment): Settings {
  const set: Partial<Record<Variable, string>> = {};
  const fromFile = new Set<Variable>();
  const problems: ConfigProblem[] = [];
  const notices: string[] = [];
  for (const variable of variables) {
    const value = env[variable]?.trim() ?? '';
    if (value === '') continue;
    if (isInjectedByKubernetes(variable, value))
      notices.push(
        `${variable} is an address as Kubernetes sets it for a service, and is ignored; to set it, use a number`,
      );
    else set[variable] = value;
  }
  for (const variable of secretVariables) {
    const setting = nameFileVariable(variable);
    const path = env[setting]?.trim() ?? '';
    if (path === '') continue;
    const result = readSecretFile(path);
    if (set[variable] !== undefined)
      problems.push({ variable, setting, message: `and ${variable} are both set: remove one of them` });
    else if ('problem' in result) problems.push({ variable, setting, message: result.problem });
    else {
      set[variable] = result.secret;
      fromFile.add(variable);
    }
  }
  return { set, fromFile, problems, notices };
}

interface NodeRuntime {
  readonly version: string;
  readonly execArgv: readonly string[];
  /** Whether this Node knows `--use-env-proxy`. */
  readonly canUseProxy: boolean;
}

/** A warning when `HTTPS_PROXY` is set, but Node does not use it for the requests to the provider. */
export function findIgnoredProxy(env: Environment, node: NodeRuntime): readonly string[] {
  const variable = ['HTTPS_PROXY', 'https_proxy'].find((name) => env[name]?.trim());
  if (variable === undefined) return [];
  const options = [env.NODE_OPTIONS, ...node.execArgv];
  const isRequested =
    env.NODE_USE_ENV_PROXY === '1' || options.some((each) => each?.includes('--use-env-proxy'));
  if (isRequested && node.canUseProxy) return [];
  const remedy = node.canUseProxy
    ? 'set NODE_USE_ENV_PROXY=1'
    : `use Node 24 with NODE_USE_ENV_PROXY=1 (this is ${node.version})`;
  return [
    `${variable} has no effect: requests to the provider are sent directly; to send them through the proxy, ${remedy}, otherwise unset the variable`,
  ];
}
