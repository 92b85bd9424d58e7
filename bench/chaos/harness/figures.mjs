/** The value below which a share of the numbers lie. */
export function quantile(numbers, share) {
  const sorted = [...numbers].sort((a, b) => a - b);
  return sorted.length === 0 ? 0 : sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))];
}

export const greatest = (numbers) => numbers.reduce((most, each) => Math.max(most, each), 0);
export const total = (numbers) => numbers.reduce((sum, each) => sum + each, 0);

/** How long these took, in a few words. */
export function durations(answers) {
  const ms = answers.map((each) => each.ms);
  const [half, most] = [quantile(ms, 0.5), quantile(ms, 0.99)];
  return `p50 ${half.toFixed(0)} ms, p99 ${most.toFixed(0)} ms, slowest ${greatest(ms).toFixed(0)} ms`;
}

/** How many answers of each status; those without one by what went wrong. */
export function tally(answers) {
  const counts = {};
  for (const { status, error } of answers) counts[error ?? status] = (counts[error ?? status] ?? 0) + 1;
  return counts;
}

export const inWords = (counts) =>
  Object.entries(counts)
    .map(([what, count]) => `${count} x ${what}`)
    .join(', ') || 'none';
