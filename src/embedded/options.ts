import { env as processEnv } from 'node:process';
import { Writable } from 'node:stream';
import { nameFileVariable, secretVariables, type Variable, variables } from '../config/fields.ts';
import { type Config, loadConfig } from '../config/load.ts';
import { findUnknownVariables } from '../config/unknown-variables.ts';
import type { RedisConnection } from '../deps.ts';
import { createLogger, type Logger } from '../logger.ts';
import type { LatchkeyOptions, LogTarget } from './api.ts';

/** Options that are not valid; the message lists every problem. */
export class OptionsError extends Error {
  override readonly name = 'OptionsError';

  constructor(problems: readonly string[]) {
    super(
      [
        `Invalid options of createLatchkey (${problems.length} ${problems.length === 1 ? 'problem' : 'problems'}):`,
        ...problems.map((each) => `  ${each}`),
      ].join('\n'),
    );
  }
}

/** Settings of the server that Latchkey is not when it is part of your app. Ignored in the environment. */
const serverSettings: ReadonlySet<string> = new Set<Variable>([
  ...(['PORT', 'HOST', 'METRICS_PORT', 'METRICS_HOST', 'SHUTDOWN_DELAY_SECONDS'] as const),
]);
/** Settings that a client of the app replaces. */
const redisSettings: ReadonlySet<string> = new Set<Variable | `${Variable}_FILE`>([
  ...(['REDIS_URL', 'REDIS_SENTINEL_USERNAME', 'REDIS_SENTINEL_PASSWORD'] as const),
  ...(['REDIS_URL_FILE', 'REDIS_SENTINEL_PASSWORD_FILE'] as const),
]);
/** Settings with which Latchkey would respond to paths that are those of your app. */
const frontEndSettings: ReadonlySet<string> = new Set(['APP_DIR', 'APP_URL', 'APP_REQUIRES_LOGIN']);
const optionNames = new Set([
  ...(['settings', 'logger', 'redis', 'fetchOrigins'] as const satisfies (keyof LatchkeyOptions)[]),
]);
const settingNames: ReadonlySet<string> = new Set([...variables, ...secretVariables.map(nameFileVariable)]);

/**
 * The configuration of `createLatchkey(options)`.
 * @throws OptionsError with every problem of the options themselves
 * @throws ConfigError with every problem of the settings, which are checked as those of the environment
 */
export function readOptions(options: LatchkeyOptions): Config {
  const problems = Object.keys(options)
    .filter((name) => !optionNames.has(name as keyof LatchkeyOptions))
    .map((name) =>
      settingNames.has(name)
        ? `${name} is a setting: write { settings: { ${name}: … } }`
        : `${name} is not an option; these are: ${[...optionNames].join(', ')}`,
    );
  for (const each of options.fetchOrigins ?? [])
    if (!URL.canParse(each) || new URL(each).origin !== each || each === 'null')
      problems.push(`fetchOrigins must be origins, such as https://api.example.com, without a path`);
  const { settings, redis } = options;
  if (redis !== undefined && !isRedisClient(redis))
    problems.push(
      'redis must be a client or a cluster of ioredis (npm install ioredis); other clients, such as node-redis, are not supported',
    );
  const env: Record<string, string | undefined> = Object.create(null);
  // Own members only, so that nothing that has got into Object.prototype becomes a setting.
  for (const [name, value] of Object.entries(settings ?? processEnv)) {
    if (value === undefined || value === '') continue;
    if (frontEndSettings.has(name))
      problems.push(`${name} is not available here: your app serves its own pages`);
    else if (serverSettings.has(name)) {
      if (settings) problems.push(`${name} has no effect here: your app has the server`);
    } else if (redis && redisSettings.has(name)) {
      if (settings) problems.push(`${name} has no effect with the option redis`);
    } else if (settings && !settingNames.has(name)) problems.push(...describeUnknown(name));
    else if (!isPlain(value)) problems.push(`${name} must be a string, a number, a boolean or a URL`);
    else env[name] = String(value);
  }
  if (problems.length > 0) throw new OptionsError(problems);
  return loadConfig(env, { redisClient: redis && (redis.isCluster ? 'cluster' : 'server') });
}

function describeUnknown(name: string): readonly string[] {
  const [known] = findUnknownVariables({ [name]: 'set' });
  return [
    known?.replace(' and is ignored', '') ??
      `${name} is not a setting; docs/configuration.md lists all settings`,
  ];
}

/** True for the clients of every copy and version of ioredis. */
export function isRedisClient(value: unknown): value is RedisConnection {
  return (
    typeof value === 'object' &&
    value !== null &&
    'isCluster' in value &&
    typeof value.isCluster === 'boolean' &&
    'duplicate' in value &&
    typeof value.duplicate === 'function'
  );
}

function isPlain(value: unknown): boolean {
  return ['string', 'number', 'boolean'].includes(typeof value) || value instanceof URL;
}

/** A log whose lines `target` gets, without what the log of Latchkey may not contain. */
export function logTo(target: LogTarget, config: Config): Logger {
  const destination = new Writable({
    write(chunk, _encoding, done) {
      const { level, time: _time, msg = '', ...fields } = JSON.parse(String(chunk));
      const method = typeof level === 'number' ? nameLevel(level) : String(level);
      if (method === 'warn' || method === 'info' || method === 'debug') target[method](fields, msg);
      else if (method === 'trace') target.debug(fields, msg);
      else target.error(fields, msg);
      done();
    },
  });
  return createLogger(config.logLevel, destination);
}

function nameLevel(level: number): string {
  return level >= 50 ? 'error' : level >= 40 ? 'warn' : level >= 30 ? 'info' : 'debug';
}
