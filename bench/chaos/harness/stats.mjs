/** The value that `fraction` (0 to 1) of the numbers are below; 0 for an empty list. */
export function quantile(numbers, fraction) {
  const sorted = [...numbers].sort((a, b) => a - b);
  return sorted.length === 0 ? 0 : sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * fraction))];
}

export const max = (numbers) => numbers.reduce((highest, each) => Math.max(highest, each), 0);
export const sum = (numbers) => numbers.reduce((total, each) => total + each, 0);

/** Median, 99th percentile and maximum duration of these responses, as text. */
export function formatDurations(responses) {
  const ms = responses.map((each) => each.ms);
  const [p50, p99] = [quantile(ms, 0.5), quantile(ms, 0.99)];
  return `p50 ${p50.toFixed(0)} ms, p99 ${p99.toFixed(0)} ms, slowest ${max(ms).toFixed(0)} ms`;
}

/** The number of responses per status; a request that got no response is counted under its error. */
export function countByStatus(responses) {
  const counts = {};
  for (const { status, error } of responses) counts[error ?? status] = (counts[error ?? status] ?? 0) + 1;
  return counts;
}

export const formatCounts = (counts) =>
  Object.entries(counts)
    .map(([label, count]) => `${count} x ${label}`)
    .join(', ') || 'none';
