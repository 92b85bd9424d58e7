// Draws docs/simulation.svg from the output of `npm run simulate`:
//   npm run --silent simulate -- --seeds 10000 | tee runs.txt && node docs/generate-simulation-chart.mjs runs.txt
// Several outputs, for example of seeds that ran side by side, are added up. Prints the totals of each profile.
import { readFileSync, writeFileSync } from 'node:fs';
import { argv } from 'node:process';
import { fileURLToPath } from 'node:url';

/** The twelve claims, and the beginning of the accepted reasons that concern each of them (test/simulation/claims.ts). */
const claims = [
  ['a refresh token is sent once', 'sent twice'],
  ['nobody sends it again during the pause after a failure', 'sent within the pause'],
  ['nothing of an ended session stays valid', 'valid after the end', 'record after the end'],
  ['an older record never overwrites a newer one'],
  ['nobody is signed out without a reason', 'signed out'],
  ['granted tokens are stored', 'not stored'],
  ['revocations are carried out, once if nothing fails', 'revoked twice'],
  ['app tokens are requested once'],
  ['login states and saved forms are used once'],
  ['requests are served with a record that is new enough', 'older record'],
  ['a change is known everywhere within milliseconds'],
  ['every process hears of the end of a session'],
];

/** By profile: seeds, events, requests, refreshes, seeds with a violation, and how often each reason was accepted. */
function readRuns(texts) {
  const profiles = new Map();
  const summary =
    /^([\w-]+): (\d+) seeds from \d+, (\d+) events, (\d+) requests, (\d+) refreshes, (\d+) seeds with/;
  for (const text of texts) {
    let current;
    for (const line of text.split('\n')) {
      const [, name, ...numbers] = summary.exec(line) ?? [];
      if (name) {
        current = profiles.get(name) ?? { totals: [0, 0, 0, 0, 0], accepted: new Map() };
        profiles.set(name, current);
        for (const [index, value] of numbers.entries()) current.totals[index] += Number(value);
      }
      const [, times, reason] = /^ {2}accepted (\d+) times: (.+)$/.exec(line) ?? [];
      if (current && reason)
        current.accepted.set(reason, (current.accepted.get(reason) ?? 0) + Number(times));
    }
  }
  return profiles;
}

const countOf = ({ accepted }, prefixes) =>
  [...accepted].reduce(
    (sum, [reason, times]) => sum + (prefixes.some((each) => reason.startsWith(`${each}:`)) ? times : 0),
    0,
  );

const [cellWidth, cellHeight, left, top] = [50, 30, 380, 110];

function draw(profiles) {
  const names = [...profiles.keys()];
  const width = left + names.length * cellWidth + 20;
  const height = top + claims.length * cellHeight + 60;
  const cells = claims.flatMap(([, ...prefixes], row) =>
    names.map((name, column) => {
      const profile = profiles.get(name);
      const count = countOf(profile, prefixes);
      // A logarithmic scale: a hundred cases in ten thousand schedules are one tenth of what a thousand are.
      const share = count === 0 ? 0 : 0.12 + 0.6 * Math.min(1, Math.log10(count) / 4);
      const [x, y] = [left + column * cellWidth, top + row * cellHeight];
      return (
        `<rect x="${x + 1}" y="${y + 1}" width="${cellWidth - 2}" height="${cellHeight - 2}" rx="3" class="cell" fill-opacity="${share.toFixed(2)}"/>` +
        `<text x="${x + cellWidth / 2}" y="${y + 19}" class="${count === 0 ? 'kept' : 'count'}" text-anchor="middle">${count === 0 ? '✓' : count}</text>`
      );
    }),
  );
  const rows = claims.map(
    ([label], row) =>
      `<text x="${left - 12}" y="${top + row * cellHeight + 19}" text-anchor="end">${label}</text>`,
  );
  const columns = names.map((name, column) => {
    const [x, y] = [left + column * cellWidth + cellWidth / 2, top - 10];
    return `<text x="${x}" y="${y}" transform="rotate(-50 ${x} ${y})">${name}</text>`;
  });
  const seeds = profiles.get(names[0]).totals[0];
  const failed = names.reduce((sum, name) => sum + profiles.get(name).totals[4], 0);
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" role="img" aria-labelledby="title">
<title id="title">Twelve claims in ${names.length} profiles of ${seeds} schedules each: ${failed} schedules broke a claim; the numbers are cases that the decisions accept</title>
<style>
text { font: 13px system-ui, sans-serif; fill: #1f2328; }
.cell { fill: #b35900; stroke: #d0d7de; }
.kept { fill: #1a7f37; }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3; }
  .cell { fill: #f0883e; stroke: #3d444d; }
  .kept { fill: #3fb950; }
}
</style>
${columns.join('\n')}
${rows.join('\n')}
${cells.join('\n')}
<text x="${left}" y="${height - 22}">✓ the claim held in every schedule · a number: cases that the decisions accept, in ${seeds} schedules</text>
</svg>
`;
}

if (argv[1] === fileURLToPath(import.meta.url)) {
  const profiles = readRuns(argv.slice(2).map((path) => readFileSync(path, 'utf8')));
  writeFileSync(new URL('simulation.svg', import.meta.url), draw(profiles));
  for (const [name, { totals, accepted }] of profiles) {
    console.log(`${name}: ${totals.join(' ')}`);
    for (const [reason, times] of [...accepted].sort()) console.log(`  ${times} ${reason}`);
  }
}
