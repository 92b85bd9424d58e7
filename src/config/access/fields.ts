import { z } from 'zod';
import type { ClaimRule } from '../../claims/conditions.ts';
import { claimName } from '../../claims/conditions.ts';
import type { Field } from '../field-types.ts';
import { loginAllowed } from './login-allowed.ts';

const defaultSessionClaims = ['sub', 'name', 'email', 'picture'];

const claimNames = z
  .string()
  .transform((value) => [...new Set(value.split(/[\s,]+/))])
  .pipe(z.array(claimName));

const supportUrl = z
  .string()
  .refine(
    (value) =>
      URL.canParse(value) &&
      /^(https:\/\/[^/]|mailto:[^\s@]+@[^\s@]+$)/i.test(value) &&
      !new URL(value).username,
    'must be an https:// URL or a mailto: address, such as mailto:help@example.com',
  );

/** What is known about users, and who may sign in. */
export const accessFields = {
  OAUTH2_SESSION_CLAIMS: {
    type: claimNames.default(defaultSessionClaims),
    example: 'sub name email groups realm_access.roles',
    meaning:
      'The claims about the user that /auth/session returns to scripts and the profile page shows, separated by spaces; a dot leads into a nested claim. Claims that the ID token lacks are fetched from the userinfo endpoint. Rules can use every claim, whether it is listed here or not.',
    unset: defaultSessionClaims.join(' '),
  },
  LOGIN_ALLOWED: {
    type: loginAllowed.default([]),
    example: 'email endsWith @example.com or groups anyOf staff,admins',
    meaning:
      'Who may sign in: a claim, a condition (equals, anyOf, allOf, endsWith or exists) and its values, separated by commas; several joined by and, alternatives by or. It decides at each sign-in, and again after each refresh: the session of a user who is no longer allowed ends. A claim that is missing does not meet a condition, and an email must be verified. Values with spaces need double quotes (docs/access.md).',
    unset: 'everyone whom the provider signs in',
  },
  SUPPORT_URL: {
    type: supportUrl.optional(),
    example: 'mailto:help@example.com',
    meaning:
      'Whom users contact when they are refused: an https:// URL or a mailto: address, which the page then links to.',
    unset: 'no link',
  },
} as const satisfies Record<string, Field>;

type Values = { readonly [K in keyof typeof accessFields]: z.output<(typeof accessFields)[K]['type']> };

interface Row {
  readonly methods: Readonly<Record<string, { readonly claims?: object | undefined }>>;
  readonly identityHeaders: Readonly<Record<string, string>>;
}

/** Claims: which are shown, and which settings and rows depend on. */
export function readAccessSettings(values: Values, routes: readonly Row[]) {
  const sessionClaims: readonly string[] = values.OAUTH2_SESSION_CLAIMS;
  const named = sessionClaims.filter((each) => !defaultSessionClaims.includes(each));
  const ofRows = routes.flatMap(({ methods, identityHeaders }) => [
    ...Object.values(methods).flatMap(({ claims }) => Object.keys(claims ?? {})),
    ...Object.values(identityHeaders),
  ]);
  const loginAllowed: readonly ClaimRule[] = values.LOGIN_ALLOWED;
  const needed = new Set([...named, ...ofRows, ...loginAllowed.flatMap((rule) => Object.keys(rule))]);
  return {
    sessionClaims,
    /** Of which one must be satisfied; everyone may sign in if there are none. */
    loginAllowed,
    /** Fetched from the userinfo endpoint if the ID token lacks them. */
    neededClaims: [...needed, ...(needed.has('email') ? ['email_verified'] : [])] as readonly string[],
    supportUrl: values.SUPPORT_URL,
  };
}
