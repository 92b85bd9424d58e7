import { z } from 'zod';
import { compareNames } from '../unknown-variables.ts';
import type { JsonPath } from './json-text.ts';

/** What is wrong with the value at `path` of a route table; the message completes a sentence that begins with the path. */
export interface RouteProblem {
  readonly path: JsonPath;
  readonly message: string;
}

const maxDifference = 0.9;

/** `routes[1].target uses :x, which is not in path (line 7)`. */
export function formatProblem({ path, message }: RouteProblem, line: number | undefined): string {
  const suffix = line === undefined ? '' : ` (line ${line})`;
  return `${z.core.toDotPath(path) || 'the file'} ${message}${suffix}`;
}

/**
 * The issues of a validation as problems: a member that is missing or not known is called that, with the nearest name.
 * `namesAt` returns the names that are known at a path.
 */
export function describeIssues(
  issues: readonly z.core.$ZodIssue[],
  namesAt: (path: JsonPath) => readonly string[],
): readonly RouteProblem[] {
  return issues.flatMap((issue): RouteProblem[] => {
    const { path, message } = issue;
    if (issue.code === 'unrecognized_keys')
      return issue.keys.map((key) => ({
        path: [...path, key],
        message: `is not known${suggest(key, namesAt(path))}`,
      }));
    if (issue.code === 'invalid_key') {
      const key = String(path.at(-1));
      return [{ path, message: `is not known${suggest(key, namesAt(path.slice(0, -1)))}` }];
    }
    if (message.endsWith('received undefined')) return [{ path, message: 'is missing' }];
    return [{ path, message: message.startsWith('must') ? message : `is invalid: ${message}` }];
  });
}

function suggest(name: string, known: readonly string[]): string {
  const differences = known.map((each) => ({ each, difference: compareNames(toWords(name), toWords(each)) }));
  const nearest = differences.sort((one, other) => one.difference - other.difference)[0];
  if (nearest && nearest.difference < maxDifference) return `; did you mean ${nearest.each}?`;
  return known.length > 0 ? `; possible are ${known.join(', ')}` : '';
}

/** `rateLimit` as `RATE_LIMIT`, the form in which names are compared. */
function toWords(name: string): string {
  return name
    .replace(/([a-z\d])([A-Z])/g, '$1_$2')
    .replaceAll('-', '_')
    .toUpperCase();
}
