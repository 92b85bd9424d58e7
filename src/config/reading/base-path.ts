import { z } from 'zod';
import { paths } from '../../paths.ts';
import * as type from '../field-types.ts';

/** The characters of a segment are also valid in the name of a cookie, and no proxy changes them. */
const format = /^(\/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*$/;
const maxLength = 100;
const rule = `one or more segments of letters, digits, ., _, ~ and -, ${maxLength} characters at most, without a slash at the end`;

const isBasePath = (path: string) => format.test(path) && path.length <= maxLength;
/** What follows the authority, as it was written: `new URL` resolves `..`, and encodes what a URL cannot contain. */
const pathAsWritten = (value: string) => value.replace(/^[a-z]+:\/\/[^/?#\\]*/i, '').replace(/[?#].*$/s, '');

/** A base path; `/` is the same as none. */
export const basePath = z
  .string()
  .transform((value) => (value === '/' ? '' : value))
  .refine(isBasePath, `must be a path such as /portal: ${rule}`);

/** The redirect URI. What its path has before that of the callback is the base path. */
export const redirectUri = z
  .string('is missing')
  .superRefine((value, context) => {
    if (!URL.canParse(value)) return; // reported below
    const { pathname, search } = new URL(value);
    const problem =
      !pathname.endsWith(paths.callback) || search !== ''
        ? `must end with ${paths.callback}, without a query; a path before it is the base path of the app`
        : !isBasePath(readBasePath({ pathname })) || pathAsWritten(value) !== pathname
          ? `has a base path (what is before ${paths.callback}) that cannot be used: it must be ${rule}`
          : undefined;
    if (problem !== undefined) context.addIssue({ code: 'custom', message: problem });
  })
  .pipe(type.url);

/** The base path in a redirect URI: `/portal`, or `''`. */
export function readBasePath({ pathname }: Pick<URL, 'pathname'>): string {
  return pathname.slice(0, -paths.callback.length);
}
