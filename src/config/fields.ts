import type { z } from 'zod';
import { accessFields } from './access/fields.ts';
import { serverFields, sessionFields } from './app-fields.ts';
import type { Field } from './field-types.ts';
import { frontEndFields } from './front-end/fields.ts';
import { limitFields } from './limit-fields.ts';
import { pageFields } from './pages/fields.ts';
import { apiFields, appTokenFields, providerFields } from './provider-fields.ts';

/** Every variable that Latchkey reads, as `docs/configuration.md` and `.env.example` group and order them. */
export const fieldGroups = {
  Provider: providerFields,
  API: apiFields,
  'App tokens': appTokenFields,
  Access: accessFields,
  Sessions: sessionFields,
  Server: serverFields,
  Limits: limitFields,
  'Front end': frontEndFields,
  Pages: pageFields,
} as const;

export const fields = {
  ...providerFields,
  ...apiFields,
  ...appTokenFields,
  ...accessFields,
  ...sessionFields,
  ...serverFields,
  ...limitFields,
  ...frontEndFields,
  ...pageFields,
} as const;

export type Variable = keyof typeof fields;

export const variables = Object.keys(fields) as readonly Variable[];

const allFields: Readonly<Record<Variable, Field>> = fields;

/** The variables whose value can also be in a file. */
export const secretVariables = variables.filter((variable) => allFields[variable].isSecret);

/** The variable that names the file with the value of a secret. */
export function nameFileVariable(variable: Variable): string {
  return `${variable}_FILE`;
}

export type Values = { readonly [K in Variable]: z.output<(typeof fields)[K]['type']> };

/** Parameters that the provider defines; a value can be a secret. */
const parameterVariables: readonly Variable[] = ['OAUTH2_AUTHORIZATION_PARAMS', 'OAUTH2_TOKEN_PARAMS'];

/** Every setting that has a value, for the log: never a secret, only that it is set. */
export function describeValues(values: Values): Readonly<Record<string, unknown>> {
  const entries = Object.entries(values as Readonly<Record<string, unknown>>).filter(
    ([, value]) => value !== undefined && !(Array.isArray(value) && value.length === 0),
  );
  const isHidden = (name: string) =>
    allFields[name as Variable].isSecret || parameterVariables.includes(name as Variable);
  return Object.fromEntries(entries.map(([name, value]) => [name, isHidden(name) ? '[set]' : value]));
}

/** What is wrong with one variable. */
export interface ConfigProblem {
  readonly variable: Variable;
  /** Completes a sentence that begins with the variable's name; never contains its value. */
  readonly message: string;
  /** The name of the variable's `_FILE` twin, when the problem is about that. */
  readonly setting?: string;
}
