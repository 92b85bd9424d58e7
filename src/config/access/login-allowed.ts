import { z } from 'zod';
import { type ClaimRule, claimRule, conditionNames } from '../../claims/conditions.ts';

/** A word, or a text in double quotes; a comma is a word of its own. */
const token = /\s*(?:"((?:[^"\\]|\\["\\])*)"|(,)|([^\s,"]+))/y;

interface Token {
  readonly text: string;
  readonly isQuoted: boolean;
}

class RuleProblem extends Error {}

const form =
  'must be conditions for claims, such as: email endsWith @example.com or groups anyOf staff,"Night shift"';

/**
 * The rules of LOGIN_ALLOWED, of which one must be satisfied: `claim condition value,value`, joined by `and`, and before that
 * by `or`. Unquoted, `true`, `false` and numbers are what they are in JSON.
 */
export const loginAllowed = z.string().transform((value, context): readonly ClaimRule[] => {
  try {
    return readRules(value);
  } catch (error) {
    if (!(error instanceof RuleProblem)) throw error;
    context.addIssue({ code: 'custom', message: error.message });
    return z.NEVER;
  }
});

function readRules(value: string): readonly ClaimRule[] {
  const tokens = split(value);
  const rules: ClaimRule[] = [];
  for (let at = 0; at < tokens.length || rules.length === 0; ) {
    const rule = new Map<string, Record<string, unknown>>();
    for (let joined = 'and'; joined === 'and'; joined = wordAt(tokens, at++) ?? 'or') {
      const term = readTerm(tokens, at);
      at = term.end;
      const known = rule.get(term.claim) ?? {};
      if (Object.hasOwn(known, term.condition))
        throw new RuleProblem(
          `has ${term.claim} ${term.condition} twice in one alternative; separate values by commas`,
        );
      rule.set(term.claim, { ...known, [term.condition]: term.value });
    }
    if (at <= tokens.length && wordAt(tokens, at - 1) !== 'or') throw new RuleProblem(form);
    if (at === tokens.length) throw new RuleProblem(form);
    rules.push(check(Object.fromEntries(rule)));
  }
  return rules;
}

function split(value: string): readonly Token[] {
  const tokens: Token[] = [];
  token.lastIndex = 0;
  while (value.slice(token.lastIndex).trim() !== '') {
    const match = token.exec(value);
    if (!match) throw new RuleProblem(`${form}. A double quote is missing`);
    const [, quoted, comma, word = ''] = match;
    tokens.push({ text: quoted?.replace(/\\(.)/g, '$1') ?? comma ?? word, isQuoted: quoted !== undefined });
  }
  return tokens;
}

/** The word at this place, unless it is quoted. */
function wordAt(tokens: readonly Token[], at: number): string | undefined {
  const found = tokens[at];
  return found?.isQuoted ? undefined : found?.text;
}

function readTerm(tokens: readonly Token[], start: number) {
  const claim = tokens[start]?.text;
  const condition = wordAt(tokens, start + 1);
  if (claim === undefined || condition === undefined) throw new RuleProblem(form);
  const name = conditionNames.find((each) => each === condition);
  if (name === undefined)
    throw new RuleProblem(`has an unknown condition; possible are ${conditionNames.join(', ')}`);
  if (name === 'exists') return { claim, condition, value: true, end: start + 2 };
  const values: unknown[] = [];
  let at = start + 2;
  for (;;) {
    const value = tokens[at];
    if (!value || wordAt(tokens, at) === ',')
      throw new RuleProblem(`has no value after ${condition}, or one is empty`);
    values.push(value.isQuoted ? value.text : readScalar(value.text));
    at += 1;
    if (wordAt(tokens, at) !== ',') break;
    at += 1;
  }
  if (name === 'equals' && values.length > 1)
    throw new RuleProblem('has several values after equals; use anyOf');
  return { claim, condition, value: name === 'equals' ? values[0] : values, end: at };
}

function readScalar(text: string): unknown {
  if (text === 'true' || text === 'false') return text === 'true';
  return /^-?(0|[1-9]\d*)(\.\d+)?$/.test(text) ? Number(text) : text;
}

function check(rule: object): ClaimRule {
  if (Object.hasOwn(rule, '__proto__')) throw new RuleProblem('must not name __proto__');
  const read = claimRule.safeParse(rule);
  if (read.success) return read.data;
  const [issue] = read.error.issues;
  const message = issue?.message ?? 'is invalid';
  throw new RuleProblem(`is invalid at ${issue?.path.slice(0, 2).join(' ')}: ${message}`);
}
