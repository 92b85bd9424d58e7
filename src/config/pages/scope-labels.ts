import { z } from 'zod';
import { parseJson } from '../reading/json-text.ts';

/** For each scope, what it allows in words: in every language, or by language tag. */
export type ScopeLabels = Readonly<Record<string, string | Readonly<Record<string, string>>>>;

const label = z.string().trim().min(1).max(200);
const languageTag = z.string().regex(/^[a-z]{2,3}(-[A-Za-z\d]{2,8})*$/);
const labels = z.record(
  z.string().regex(/^[\x21\x23-\x5B\x5D-\x7E]+$/),
  z.union([
    label,
    z.record(languageTag, label).refine((value) => Object.keys(value).length > 0, 'must name a language'),
  ]),
);
const expected =
  'must be a JSON object of scopes, each with a text of up to 200 characters or an object of language tags and texts';

export const scopeLabels = z.string().transform((value, context): ScopeLabels => {
  const parsed = parseJson(value);
  if ('problem' in parsed) {
    context.addIssue({ code: 'custom', message: `is not JSON: ${parsed.problem}` });
    return z.NEVER;
  }
  const result = labels.safeParse(parsed.json);
  if (result.success) return result.data;
  const scope = result.error.issues[0]?.path[0];
  context.addIssue({
    code: 'custom',
    message: scope === undefined ? expected : `${expected} (see ${JSON.stringify(scope)})`,
  });
  return z.NEVER;
});

/** The label of `scope` in the language `lang`, else in English, else in the first language that it has. */
export function findScopeLabel(all: ScopeLabels, scope: string, lang: string): string | undefined {
  const found = Object.hasOwn(all, scope) ? all[scope] : undefined;
  if (found === undefined || typeof found === 'string') return found;
  const base = lang.split('-')[0]!;
  return found[lang] ?? found[base] ?? found.en ?? Object.values(found)[0];
}
