import { resolve } from 'node:path';
import { z } from 'zod';
import { paths } from '../../paths.ts';
import type { Field } from '../field-types.ts';
import * as type from '../field-types.ts';
import { type ScopeLabels, scopeLabels } from './scope-labels.ts';

const accountUrl = type.url
  .refine(
    (value) => value.protocol === 'https:' || type.isLoopback(value),
    'must begin with https://, unless its host is this machine',
  )
  .transform((value) => value.href);

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
  OAUTH2_SCOPE_LABELS: {
    type: scopeLabels.default({}),
    example: '{"orders:read": {"en": "See your orders", "de": "Ihre Bestellungen sehen"}}',
    meaning:
      'What scopes allow, in words for the profile page: a JSON object of scopes, each with a text, or with an object of language tags and texts. The standard scopes of OpenID Connect have texts; a scope without one is shown by its name.',
    unset: 'the texts of the standard scopes only',
  },
  OAUTH2_ACCOUNT_URL: {
    type: accountUrl.optional(),
    example: 'https://login.example.com/account',
    meaning:
      'Where users manage their account at the provider (password, devices): an https:// URL, to which the profile page links.',
    unset: 'that of the preset, if it has one; otherwise no link',
  },
} as const satisfies Record<string, Field>;

interface PageValues {
  readonly DEVELOPER_PAGE?: boolean | undefined;
  readonly NODE_ENV: string;
  readonly OAUTH2_SCOPE_LABELS: ScopeLabels;
  readonly OAUTH2_ACCOUNT_URL?: string | undefined;
}

/** Which pages there are, and what they show. */
export function readPageSettings(values: PageValues) {
  return {
    hasDeveloperPage: values.DEVELOPER_PAGE ?? values.NODE_ENV !== 'production',
    scopeLabels: values.OAUTH2_SCOPE_LABELS,
    accountUrl: values.OAUTH2_ACCOUNT_URL,
  };
}
