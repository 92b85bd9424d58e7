import { z } from 'zod';

/** Directives of a Content-Security-Policy: a name, and the text after it. */
export type PolicyDirectives = Readonly<Record<string, string>>;

const knownDirectives: ReadonlySet<string> = new Set([
  ...['default-src', 'script-src', 'script-src-elem', 'script-src-attr', 'style-src', 'style-src-elem'],
  ...['style-src-attr', 'img-src', 'font-src', 'connect-src', 'media-src', 'object-src', 'frame-src'],
  ...['child-src', 'worker-src', 'manifest-src', 'base-uri', 'form-action', 'frame-ancestors', 'sandbox'],
  ...['report-to', 'report-uri', 'require-trusted-types-for', 'trusted-types', 'upgrade-insecure-requests'],
]);
const unquotedKeyword =
  /(^|\s)(self|none|unsafe-inline|unsafe-eval|wasm-unsafe-eval|strict-dynamic|unsafe-hashes|report-sample|(nonce|sha(256|384|512))-\S+)(\s|$)/i;

/** `none`, or directives that replace those of the default policy. */
export const policy = z
  .string()
  .superRefine((value, context) => {
    const problem = value.toLowerCase() === 'none' ? undefined : findProblem(value);
    if (problem !== undefined) context.addIssue({ code: 'custom', message: problem });
  })
  .transform((value) =>
    value.toLowerCase() === 'none' ? ('none' as const) : Object.fromEntries(splitDirectives(value)),
  );

function splitDirectives(value: string): readonly (readonly [string, string])[] {
  return value
    .split(';')
    .map((each) => each.trim())
    .filter((each) => each !== '')
    .map((each) => {
      const [name = ''] = each.split(/\s/, 1);
      return [name.toLowerCase(), each.slice(name.length).trim()] as const;
    });
}

function findProblem(value: string): string | undefined {
  if (!/^[\x20-\x7e]*$/.test(value) || value.includes(','))
    return 'must be printable ASCII without commas, on one line: directives separated by semicolons';
  const directives = splitDirectives(value);
  const names = directives.map(([name]) => name);
  const unknown = names.find((name) => !knownDirectives.has(name));
  if (unknown !== undefined)
    return `has the unknown directive ${unknown}: a policy is directives separated by semicolons, or none`;
  const repeated = names.find((name, index) => names.indexOf(name) !== index);
  if (repeated !== undefined)
    return `has the directive ${repeated} twice, of which browsers ignore the second`;
  const unquoted = directives.map(([, text]) => unquotedKeyword.exec(text)?.[2]).find((each) => each);
  return unquoted === undefined
    ? undefined
    : `has the word ${unquoted} without single quotes, which browsers take for a host: write '${unquoted}'`;
}
