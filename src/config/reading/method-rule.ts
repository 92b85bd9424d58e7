import { z } from 'zod';
import { type ClaimRule, claimRule } from '../../claims/conditions.ts';

export const methodNames = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'] as const;
export type Method = (typeof methodNames)[number];

/** What one method of a route requires. */
export interface MethodRule {
  /** Scopes (RFC 6749 3.3). */
  readonly allOf: readonly string[];
  readonly anyOf: readonly string[];
  /** What the claims about the user must be. */
  readonly claims?: ClaimRule | undefined;
}

const scopeToken = z.string().regex(/^[\x21\x23-\x5B\x5D-\x7E]+$/, 'must be one scope, without spaces');

export const methodRule = z
  .strictObject({
    allOf: z.array(scopeToken).default([]).describe('Scopes that must all be granted'),
    anyOf: z.array(scopeToken).default([]).describe('Scopes of which at least one must be granted'),
    claims: claimRule.optional().describe('What the claims about the user must be, by their names'),
  })
  .describe(
    'Scopes that the user must have granted for this method, and rules for their claims; {} for none. For the app token, allOf lists the scopes to request',
  );
