import type { z } from 'zod';
import { pageFields, serverFields, sessionFields } from './app-fields.ts';
import type { Field } from './field-types.ts';
import { limitFields } from './limit-fields.ts';
import { apiFields, appTokenFields, providerFields } from './provider-fields.ts';

/** Every variable that Latchkey reads, as `docs/configuration.md` and `.env.example` group and order them. */
export const fieldGroups = {
  Provider: providerFields,
  API: apiFields,
  'App tokens': appTokenFields,
  Sessions: sessionFields,
  Server: serverFields,
  Limits: limitFields,
  Pages: pageFields,
} as const;

export const fields = {
  ...providerFields,
  ...apiFields,
  ...appTokenFields,
  ...sessionFields,
  ...serverFields,
  ...limitFields,
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

/** What is wrong with one variable. */
export interface ConfigProblem {
  readonly variable: Variable;
  /** Completes a sentence that begins with the variable's name; never contains its value. */
  readonly message: string;
  /** The name of the variable's `_FILE` twin, when the problem is about that. */
  readonly setting?: string;
}
