import type { z } from 'zod';
import { pageFields, serverFields, sessionFields } from './app-fields.ts';
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

export type Values = { readonly [K in Variable]: z.output<(typeof fields)[K]['type']> };

/** What is wrong with one variable. */
export interface ConfigProblem {
  readonly variable: Variable;
  /** Completes a sentence that begins with the variable's name; never contains its value. */
  readonly message: string;
}
