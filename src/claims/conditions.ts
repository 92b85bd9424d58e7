import { z } from 'zod';

const forbiddenSegment = /(^|\.)(__proto__|constructor|prototype)(\.|$)/;

/** The name of a claim, as a setting or a rule names it. */
export const claimName = z
  .string()
  .refine(
    (name) =>
      /^[^\s,"\p{Cc}]{1,200}$/u.test(name) && !/^\.|\.\.|\.$/.test(name) && !forbiddenSegment.test(name),
    'must be the name of a claim, such as groups or realm_access.roles: up to 200 characters without spaces, commas and quotes, and no part of it may be __proto__, constructor or prototype',
  );

/** Other numbers are rounded when JSON is read, so that different ones could be equal. */
const number = z
  .number()
  .refine(
    (value) => Number.isSafeInteger(value) || !Number.isInteger(value),
    'must be a number that JavaScript can represent exactly; use a string if the claim is one',
  );
const scalar = z.union([z.string().min(1), number, z.boolean()]);
const ending = z
  .string()
  .regex(
    /^[^\p{L}\p{N}\s].*$/u,
    'must begin with the character before it, such as "@example.com" or ".example.com": "example.com" would also match "evil-example.com"',
  )
  .regex(/^.[^@]*$/u, 'must have no @ except as its first character');

/** What a claim must be. All conditions that are named must hold. */
export const condition = z
  .strictObject({
    equals: scalar.optional().describe('The claim is this value, of the same type; never true for an array'),
    anyOf: z
      .array(scalar)
      .min(1)
      .optional()
      .describe('The claim, or an item of it if it is an array, is one of these'),
    allOf: z
      .array(scalar)
      .min(1)
      .optional()
      .describe('The claim has all of these as items, or is the only one'),
    endsWith: z
      .union([ending, z.array(ending).min(1)])
      .optional()
      .describe('The claim is a string that ends with this, or with one of these: "@example.com"'),
    exists: z.literal(true).optional().describe('The claim has a value: not null, "" or []'),
  })
  .refine(
    (value) => Object.values(value).some((each) => each !== undefined),
    'must have a condition: equals, anyOf, allOf, endsWith or exists',
  );

/** Claims by name, each with its condition; all must hold. */
export const claimRule = z
  .record(claimName, condition)
  .refine((rule) => Object.keys(rule).length > 0, 'must name at least one claim')
  .superRefine((rule, context) => {
    const endings = [rule.email?.endsWith ?? []].flat();
    if (endings.some((each) => !/^[@.]/.test(each)))
      context.addIssue({
        code: 'custom',
        path: ['email', 'endsWith'],
        message: 'must begin with @ or with a dot',
      });
  });

export type Condition = z.output<typeof condition>;
export type ClaimRule = z.output<typeof claimRule>;
export const conditionNames = Object.keys(condition.shape);
