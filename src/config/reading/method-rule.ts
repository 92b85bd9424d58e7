import { z } from 'zod';
import { type ClaimRule, claimRule } from '../../claims/conditions.ts';
import { namesOfClaimRule } from './claim-checks.ts';
import type { JsonPath } from './json-text.ts';
import { namesOfExample, type RequestExample, requestExample } from './request-example.ts';

const methodNames = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'] as const;
export type Method = (typeof methodNames)[number];

/** What one method of a route requires. */
export interface MethodRule {
  /** Scopes (RFC 6749 3.3). */
  readonly allOf: readonly string[];
  readonly anyOf: readonly string[];
  /** What the claims about the user must be. */
  readonly claims?: ClaimRule | undefined;
  /** What the page for developers suggests to send. */
  readonly example?: RequestExample | undefined;
}

const scopeToken = z.string().regex(/^[\x21\x23-\x5B\x5D-\x7E]+$/, 'must be one scope, without spaces');

const methodRule = z
  .strictObject({
    allOf: z.array(scopeToken).default([]).describe('Scopes that must all be granted'),
    anyOf: z.array(scopeToken).default([]).describe('Scopes of which at least one must be granted'),
    claims: claimRule.optional().describe('What the claims about the user must be, by their names'),
    example: requestExample.optional().describe('A request with which developers can try the route'),
  })
  .describe(
    'Scopes that the user must have granted for this method, rules for their claims, and an example; {} for none. For the app token, allOf lists the scopes to request',
  );

/** The methods of a row. */
export const methodRules = z
  .partialRecord(z.enum(methodNames), methodRule)
  .refine((methods) => Object.keys(methods).length > 0, 'must name at least one method')
  .describe('The methods to forward; GET includes HEAD');

/** The names that are known at a path of a row's `methods`. */
export function namesOfMethods(path: JsonPath): readonly string[] {
  if (path.length === 3) return methodNames;
  if (path[4] === 'claims') return namesOfClaimRule(path);
  return path[4] === 'example' ? namesOfExample(path) : Object.keys(methodRule.shape);
}
