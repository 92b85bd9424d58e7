import { type ConfigProblem, fields } from '../fields.ts';

/** A configuration that is not valid; the message lists every problem for the operator, and what may be the cause. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';

  constructor(
    readonly problems: readonly ConfigProblem[],
    notices: readonly string[],
  ) {
    super(
      [
        `Invalid configuration (${problems.length} ${problems.length === 1 ? 'problem' : 'problems'}):`,
        ...problems.map(
          ({ variable, message, setting }) =>
            `  ${setting ?? variable} ${message}. Example: ${
              setting
                ? `${setting}=/run/secrets/${variable.toLowerCase()}`
                : `${variable}=${fields[variable].example}`
            }`,
        ),
        ...notices.map((notice) => `  Note: ${notice}`),
      ].join('\n'),
    );
  }
}
