import { nameFileVariable, secretVariables, variables } from './fields.ts';

/** No other program uses these prefixes, apart from `otherPrograms`. */
const ownPrefix = /^(OAUTH2|SESSION)_/;
const otherPrograms = /^(OAUTH2_PROXY_|SESSION_MANAGER$)/;
/** Variables that Kubernetes creates for a service, by name: `REDIS_SERVICE_HOST`, `REDIS_PORT_6379_TCP_ADDR`. */
const injectedNames = /_(SERVICE_(HOST|PORT(_\w+)?)|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)$/;
/** And by value: `REDIS_PORT=tcp://10.0.0.1:6379`. */
const injectedValue = /^(tcp|udp|sctp):\/\/[^/]+:\d+$/i;

/** Names of other products for what Latchkey calls otherwise; the rule below cannot find them. */
const namesElsewhere: Readonly<Record<string, string>> = {
  SECRET: 'SESSION_SECRET',
  SECRET_KEY: 'SESSION_SECRET',
  SESSION_KEY: 'SESSION_SECRET',
  COOKIE_SECRET: 'SESSION_SECRET',
  REDIS_HOST: 'REDIS_URL',
  REDIS_PASSWORD: 'REDIS_URL',
  OAUTH2_CALLBACK_URL: 'OAUTH2_REDIRECT_URI',
  OAUTH2_LOGOUT_URL: 'OAUTH2_END_SESSION_URL',
};

/** Every name that Latchkey reads. */
const knownNames: readonly string[] = [...variables, ...secretVariables.map(nameFileVariable)];

/** The greatest difference of a name that is taken for one of ours; with `ownPrefix`, only for the suggestion. */
const maxDifference = { otherPrefix: 0.7, ownPrefix: 0.9 };

/** True for a variable that Kubernetes creates for a service, and nobody has set on purpose. */
export function isInjectedByKubernetes(name: string, value: string): boolean {
  return injectedNames.test(name) || (name.endsWith('PORT') && injectedValue.test(value));
}

/** Warnings about variables that Latchkey does not read but that seem to be meant for it; never with a value. */
export function findUnknownVariables(env: Readonly<Record<string, string | undefined>>): string[] {
  const known = new Set(knownNames);
  return Object.entries(env).flatMap(([name, value]) => {
    const text = value?.trim() ?? '';
    if (known.has(name) || text === '' || isInjectedByKubernetes(name, text)) return [];
    if (otherPrograms.test(name)) return [];
    const isOurs = ownPrefix.test(name);
    const { variable, difference } = findNearest(name.toUpperCase());
    if (difference < (isOurs ? maxDifference.ownPrefix : maxDifference.otherPrefix))
      return [`${name} is not a setting and is ignored; did you mean ${variable}?`];
    return isOurs
      ? [`${name} is not a setting and is ignored; docs/configuration.md lists all settings`]
      : [];
  });
}

function findNearest(name: string): { readonly variable: string; readonly difference: number } {
  const [, base = name, suffix = ''] = /^(.+?)(_FILE)?$/.exec(name) ?? [];
  const elsewhere = namesElsewhere[base];
  if (elsewhere && knownNames.includes(elsewhere + suffix))
    return { variable: elsewhere + suffix, difference: 0 };
  return knownNames
    .filter((variable) => variable.includes('_') && variable !== 'APP_URL') // PORT, HOST and API_URL are names of others
    .map((variable) => ({ variable, difference: compareNames(name, variable) }))
    .reduce((best, each) => (each.difference < best.difference ? each : best));
}

/**
 * How much `name` differs from `known`, as a number of words: 0 when only underscores differ, 1 for another word. A
 * word that is misspelt or abbreviated counts less than another word.
 */
export function compareNames(name: string, known: string): number {
  if (name.replaceAll('_', '') === known.replaceAll('_', '')) return 0;
  const [words, knownWords] = [name.split('_'), known.split('_')];
  return align(words.length, knownWords.length, {
    replace: (i, j) => compareWords(words[i]!, knownWords[j]!),
    // REDIS_TLS_URL is meant for us, MYAPP_LOG_LEVEL is not.
    remove: (i) => (i === 0 ? 1 : 0.6),
    // CLIENT_ID is probably OAUTH2_CLIENT_ID; a single word, or one that lacks another word, can be anything.
    insert: (j) => (j === 0 && words.length > 1 ? 0.6 : 0.8),
  });
}

function compareWords(one: string, other: string): number {
  if (one === other) return 0;
  const [short, long] = one.length < other.length ? [one, other] : [other, one];
  if (short.length >= 3 && long.startsWith(short)) return 0.25;
  const edits = align(one.length, other.length, {
    replace: (i, j) => (one[i] === other[j] ? 0 : 1),
    remove: () => 1,
    insert: () => 1,
  });
  return edits / long.length < 0.5 ? edits / long.length : 1;
}

interface Costs {
  replace(i: number, j: number): number;
  remove(i: number): number;
  insert(j: number): number;
}

/** The least cost of turning a list of `length` items into one of `otherLength` (Levenshtein distance). */
function align(length: number, otherLength: number, { replace, remove, insert }: Costs): number {
  let previous = [0];
  for (let j = 0; j < otherLength; j += 1) previous.push(previous[j]! + insert(j));
  for (let i = 0; i < length; i += 1) {
    const row = [previous[0]! + remove(i)];
    for (let j = 0; j < otherLength; j += 1)
      row.push(Math.min(previous[j]! + replace(i, j), previous[j + 1]! + remove(i), row[j]! + insert(j)));
    previous = row;
  }
  return previous[otherLength]!;
}
