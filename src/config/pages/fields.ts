import { resolve } from 'node:path';
import { z } from 'zod';
import { paths } from '../../paths.ts';
import type { Field } from '../field-types.ts';
import * as type from '../field-types.ts';

/** Latchkey's pages. */
export const pageFields = {
  APP_NAME: {
    type: z.string().default('Latchkey'),
    example: 'Field Notes',
    meaning: "The app's name on the pages and in their titles.",
    unset: 'Latchkey',
  },
  APP_TAGLINE: {
    type: z.string().optional(),
    example: 'Notes for people who garden',
    meaning: 'One sentence about the app, on the home page. It is shown as it is, in every language.',
    unset: 'a translated sentence that invites the user to sign in',
  },
  APP_LOGO_URL: {
    type: type.logo.default(`${paths.assets}/icon.svg`),
    example: '/auth/assets/logo.svg',
    meaning:
      'The logo next to the name: an https:// URL, or the path of a file in public/ or in the folder assets of VIEWS_DIR, which are served under /auth/assets/. A path is below the base path.',
    unset: `${paths.assets}/icon.svg`,
  },
  VIEWS_DIR: {
    type: z
      .string()
      .transform((value) => resolve(value))
      .optional(),
    example: './views',
    meaning:
      'A folder whose templates, texts and assets replace those of Latchkey, file by file. docs/theming.md explains it.',
    unset: "Latchkey's own pages",
  },
  DEVELOPER_PAGE: {
    type: type.flag.optional(),
    example: 'true',
    meaning: `true: signed-in users have a page for developers at ${paths.developer}, with the state of their access token and a form for every route under /api. The profile page links to it. false: there is no such page.`,
    unset: 'true, unless NODE_ENV is production',
  },
} as const satisfies Record<string, Field>;

interface PageValues {
  readonly DEVELOPER_PAGE?: boolean | undefined;
  readonly NODE_ENV: string;
}

/** Which pages there are, and what they show. */
export function readPageSettings(values: PageValues) {
  return {
    hasDeveloperPage: values.DEVELOPER_PAGE ?? values.NODE_ENV !== 'production',
  };
}
