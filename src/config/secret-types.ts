import { z } from 'zod';
import { Secret } from '../crypto/secret.ts';

const minLength = 32;
const minDifferentCharacters = 10;

/** Texts of documentation, templates and examples, ours included, that somebody forgot to replace. */
const placeholders = [
  /(?<![a-z])(change|replace)[-_ ]?(me|this|with)(?![a-z])/i,
  /(?<![a-z])your([-_ ][a-z0-9]+)*[-_ ]?(?<![a-z](?=key))(secret|key|password)(?![a-z])/i,
  /placeholder|openssl rand/i,
  /^the (new )?(secret|output) /i,
  /^(todo|tbd|fixme|null|undefined)$/i,
  /^(<.*>|\{\{.*\}\}|\$\{.*\}|\$\(.*\))$/,
  /^(.)\1{2,}$/,
  /^[x.*_-]{3,}$/i,
];

function splitList(value: string): readonly string[] {
  return value.split(',').map((each) => each.trim());
}

function isPlaceholder(value: string): boolean {
  return placeholders.some((each) => each.test(value));
}

/** True for `abcabcab`: everything after its first half or less repeats what is before. */
function isRepetition(value: string): boolean {
  for (let period = 1; period <= value.length / 2; period += 1)
    if (value.slice(period) === value.slice(0, -period)) return true;
  return false;
}

/** The secrets of `SESSION_SECRET`. Weak ones are refused, because they can be guessed from a single cookie. */
export const sessionSecrets = z
  .string()
  .refine(
    (value) => ![value, ...splitList(value)].some(isPlaceholder),
    'is a placeholder: replace it with a random secret, the output of `openssl rand -hex 32`',
  )
  .transform(splitList)
  .refine(
    (values) => values.every((each) => each.length >= minLength),
    `must be at least ${minLength} characters (each secret, when several are separated by commas)`,
  )
  .refine(
    (values) => values.every((each) => new Set(each).size >= minDifferentCharacters),
    `must be random, but has fewer than ${minDifferentCharacters} different characters: use the output of \`openssl rand -hex 32\``,
  )
  .refine(
    (values) => !values.some(isRepetition),
    'must be random, but repeats a shorter text: use the output of `openssl rand -hex 32`',
  )
  .transform((values) => values.map((each) => new Secret(each)));

/** A client secret. The provider chose it, so only placeholders are refused. */
export const clientSecret = z
  .string()
  .refine(
    (value) => !isPlaceholder(value),
    'is a placeholder: replace it with the secret that the provider gave you for this client',
  )
  .transform((value) => new Secret(value));
