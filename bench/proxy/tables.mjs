const unknown = '–';
export const format = (number, digits = 0) =>
  number === undefined || Number.isNaN(number)
    ? unknown
    : number.toLocaleString('en-US', { minimumFractionDigits: digits, maximumFractionDigits: digits });

/** Prints rows as a Markdown table, the header row first; the first column is text. */
export function printTable(title, rows) {
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => String(row[column]).length), 3));
  const line = (cells) =>
    `| ${cells.map((cell, column) => (column === 0 ? String(cell).padEnd(widths[0]) : String(cell).padStart(widths[column]))).join(' | ')} |`;
  const rule = `|${widths.map((width, column) => (column === 0 ? '-'.repeat(width + 2) : `${'-'.repeat(width + 1)}:`)).join('|')}|`;
  console.log(`\n${title}\n\n${line(rows[0])}\n${rule}\n${rows.slice(1).map(line).join('\n')}`);
}

/** CPU time per request, with the range of the rounds. */
export const formatCpu = ({ cpuMicros, cpuMin, cpuMax }) =>
  cpuMicros === undefined ? unknown : `${format(cpuMicros)} (${format(cpuMin)}-${format(cpuMax)})`;

/** The columns that every table of several contestants has. */
export const costColumns = ['CPU µs/request (range)', 'requests/s', 'p50 ms', 'p99 ms', 'RSS MB'];
export const costCells = (result) => [
  formatCpu(result),
  format(result.requestsPerSecond),
  format(result.p50, 1),
  format(result.p99, 1),
  format(result.residentMb),
];

export const redisColumns = ['Redis commands/request', 'Redis CPU µs/request'];
export const redisCells = ({ redisCommands, redisCpuMicros }) => [
  format(redisCommands, 2),
  format(redisCpuMicros, 1),
];

/** `of` divided by the same number of the contestant `by`, if both were measured. */
export function ratio(summaries, result, by) {
  const base = summaries.find(({ name }) => name === by)?.cpuMicros;
  return base === undefined || result.cpuMicros === undefined ? undefined : result.cpuMicros / base;
}
