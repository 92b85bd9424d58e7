import { countByStatus, formatCounts, max, sum } from '../../harness/stats.mjs';

/** Access token lifetimes in seconds by prefix of the user's name; other tokens outlive the scenario. */
export const lifetimes = { brief: 1, burst: 2, overtaken: 2, steady: 3600 };

export const createResult = (measured, isKept) => ({ measured, isKept });
export const isServed = ({ status }) => status === 200;

/** Signs in `count` users; from then on their browsers accept every cookie they get. */
export async function signIn({ browser, instances }, count, prefix) {
  const users = Array.from({ length: count }, (_, index) => browser(`${prefix}-${index}`));
  for (const [index, user] of users.entries()) {
    await user.signIn(instances[index % instances.length]);
    user.expectsChanges = true;
  }
  return users;
}

export function formatStatuses(responses) {
  const labels = responses.map(({ status, error, isAfterFault }) => ({
    status: `${error ?? status}${isAfterFault ? ' after the fault' : ''}`,
  }));
  return formatCounts(countByStatus(labels));
}

export function formatRange(numbers) {
  const [lowest, highest] = [Math.min(...numbers), max(numbers)];
  const mean = sum(numbers) / numbers.length;
  return lowest === highest ? String(lowest) : `${lowest} to ${highest}, mean ${mean.toFixed(1)}`;
}
