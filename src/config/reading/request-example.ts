import { z } from 'zod';
import type { JsonPath } from './json-text.ts';

/** A request with which developers can try a method of a route. */
export interface RequestExample {
  /** Values of the parameters of the path. */
  readonly parameters?: Readonly<Record<string, string>> | undefined;
  /** A query string, without the `?`. */
  readonly query?: string | undefined;
  readonly headers?: Readonly<Record<string, string>> | undefined;
  /** The body as JSON. */
  readonly body?: unknown;
  /** The body as the fields of a form. */
  readonly form?: Readonly<Record<string, string>> | undefined;
  /** The body is a file: alone (`true`), or in a form, in the field of this name. */
  readonly file?: string | true | undefined;
}

const text = z.string();
const names = z.record(z.string(), text);

export const requestExample = z.strictObject({
  parameters: names.optional().describe('Values of the parameters of path, by their names'),
  query: text
    .regex(/^[^?#\s]*$/, 'must be a query string without ?, such as page=2&sort=name')
    .optional()
    .describe('Query string, without ?'),
  headers: z
    .record(
      z.string().regex(/^[\w!#$%&'*+.^`|~-]+$/),
      text.regex(/^[\t\x20-\x7E]*$/, 'must be printable ASCII'),
    )
    .optional()
    .describe('Headers, by their names'),
  body: z.unknown().optional().describe('The body, as JSON'),
  form: names.optional().describe('The body, as the fields of a form'),
  file: z
    .union(
      [z.literal(true), text.regex(/./, 'must be true, or the name of a field')],
      'must be true, or the name of a field',
    )
    .optional()
    .describe('The body is a file: true for a file alone, or the name of its field in multipart/form-data'),
});

const bodilessMethods = new Set(['GET', 'HEAD', 'OPTIONS']);
const bodies = ['body', 'form', 'file'] as const;

interface ExampleRow {
  readonly path?: string | undefined;
  readonly methods?: Readonly<Record<string, { readonly example?: RequestExample | undefined }>> | undefined;
}

/** The problems of the examples in a row: the path below the row, and the message. */
export function findExampleProblems({ path, methods }: ExampleRow): readonly (readonly [JsonPath, string])[] {
  const known = new Set((path ?? '').split('/').flatMap((each) => /^[:*](.*)/.exec(each)?.[1] ?? []));
  return Object.entries(methods ?? {}).flatMap(([method, { example }]) => {
    if (!example) return [];
    const at = ['methods', method, 'example'];
    const problems: (readonly [JsonPath, string])[] = [];
    for (const [name, value] of Object.entries(example.parameters ?? {})) {
      if (path !== undefined && !known.has(name))
        problems.push([[...at, 'parameters', name], 'is not a parameter of path']);
      else if (value === '' || value.split('/').some((each) => /^\.{1,2}$/.test(each)))
        problems.push([[...at, 'parameters', name], 'must have a value, without . or .. as a segment']);
    }
    const used = bodies.filter((each) => example[each] !== undefined);
    if (used[0] !== undefined && bodilessMethods.has(method))
      problems.push([[...at, used[0]], `cannot be used with ${method}, which has no body`]);
    if (used.length > 1)
      problems.push([at, `can have only one of ${used.join(' and ')}, which are all the body`]);
    return problems;
  });
}

/** The names that are known at a path within an example. */
export function namesOfExample(path: JsonPath): readonly string[] {
  return path.length === 5 ? Object.keys(requestExample.shape) : [];
}
