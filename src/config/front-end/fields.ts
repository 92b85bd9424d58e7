import { resolve } from 'node:path';
import { z } from 'zod';
import type { Field } from '../field-types.ts';
import * as type from '../field-types.ts';
import { policy } from './policy.ts';

/** Your front end on the origin of Latchkey. */
export const frontEndFields = {
  APP_DIR: {
    type: z
      .string()
      .transform((value) => resolve(value))
      .optional(),
    example: './dist',
    meaning:
      'The folder of your built front end, which Latchkey serves at every path that is not its own. Paths of client-side routes get its index.html. docs/front-end.md explains it.',
    unset: 'Latchkey serves its home page only, or APP_URL',
  },
  APP_URL: {
    type: type.url
      .refine(
        (value) => value.pathname === '/' && !value.search,
        'must be a scheme, a host and a port only, such as http://localhost:5173',
      )
      .optional(),
    example: 'http://localhost:5173',
    meaning:
      'The development server or app to which Latchkey forwards every path that is not its own, instead of APP_DIR. It gets neither tokens nor the cookies of Latchkey. docs/front-end.md explains it.',
    unset: 'Latchkey serves its home page only, or APP_DIR',
  },
  APP_REQUIRES_LOGIN: {
    type: type.flag.default(false),
    example: 'true',
    meaning:
      'true: every path of the front end requires a session. Visitors without one go to sign in first, and return to where they were; scripts get 401.',
    unset: 'false, anyone can load the front end',
  },
  APP_CSP: {
    type: policy.optional(),
    example: "connect-src 'self' https://errors.example.com",
    meaning:
      'Content-Security-Policy of your front end: directives that replace those of the default policy (docs/front-end.md lists it), or none. Pages of Latchkey keep their own policy.',
    unset: 'the default policy; with APP_URL, that of the app if it sends one',
  },
} as const satisfies Record<string, Field>;

type FrontEndValues = {
  readonly [K in keyof typeof frontEndFields]: z.output<(typeof frontEndFields)[K]['type']>;
};

/** Where the front end is and who may load it. */
export interface FrontEndSettings {
  readonly source: { readonly folder: string } | { readonly url: URL };
  readonly requiresLogin: boolean;
  readonly policy: FrontEndValues['APP_CSP'];
}

/** `undefined` without a front end. */
export function readFrontEndSettings(values: FrontEndValues): FrontEndSettings | undefined {
  const { APP_DIR, APP_URL, APP_REQUIRES_LOGIN, APP_CSP } = values;
  const source = APP_DIR !== undefined ? { folder: APP_DIR } : APP_URL && { url: APP_URL };
  return source && { source, requiresLogin: APP_REQUIRES_LOGIN, policy: APP_CSP };
}
