// Draws docs/outage.svg and docs/storm.svg from the results of these two scenarios of the chaos run:
//   npm run chaos -- outage storm --out chaos.json && node docs/generate-fault-charts.mjs chaos.json
import { readFileSync, writeFileSync } from 'node:fs';
import { argv } from 'node:process';

/** By scenario: the heading, and what the shaded time is. */
const charts = {
  outage: [
    'API calls while the token endpoint is down and the tokens of all sessions expire, and afterwards',
    'token endpoint down',
  ],
  storm: ["200 calls at once on four processes, each time one session's token expires", undefined],
};
/** The series of each panel, from the bottom of a bar upwards: member of a second, class, label. */
const panels = [
  {
    label: 'responses per second',
    series: [
      ['succeeded', 'good', '200'],
      ['unavailable', 'wait', '503 with Retry-After'],
      ['failed', 'bad', 'other errors'],
    ],
  },
  { label: 'token requests per second', series: [['tokenRequests', 'request', 'received by the provider']] },
  { label: 'refreshes per second', series: [['grants', 'grant', 'granted by the provider']] },
];
const [left, chartWidth, panelHeight, panelGap, top] = [60, 660, 110, 58, 76];

const sum = (numbers) => numbers.reduce((total, each) => total + each, 0);

/** The end of an axis: 1, 2 or 5 times a power of ten. */
function roundUp(value) {
  const power = 10 ** Math.floor(Math.log10(Math.max(1, value)));
  return [1, 2, 5, 10].map((factor) => factor * power).find((each) => each >= value);
}

function drawPanel({ label, series }, seconds, y) {
  const barWidth = chartWidth / seconds.length;
  const total = (second) => sum(series.map(([member]) => second[member]));
  const highest = roundUp(Math.max(...seconds.map(total)));
  const heightOf = (value) => (value / highest) * panelHeight;
  const bars = seconds.flatMap((second, index) => {
    let bottom = y + panelHeight;
    return series.flatMap(([member, name]) => {
      const height = heightOf(second[member]);
      bottom -= height;
      const [x, width] = [left + index * barWidth, Math.max(barWidth - 0.8, 0.8)];
      if (height === 0) return [];
      return `<rect x="${x.toFixed(1)}" y="${bottom.toFixed(1)}" width="${width.toFixed(1)}" height="${height.toFixed(1)}" class="${name}"/>`;
    });
  });
  const totals = series.map(([member, name, text]) => {
    const count = sum(seconds.map((second) => second[member])).toLocaleString('en-US');
    return `<tspan class="${name}">■</tspan> ${count} × ${text}`;
  });
  return [
    `<text x="${left}" y="${y - 10}">${label}: ${totals.join('   ')}</text>`,
    `<path class="axis" d="M${left} ${y}V${y + panelHeight}H${left + chartWidth}"/>`,
    `<text x="${left - 6}" y="${y + 9}" text-anchor="end">${highest.toLocaleString('en-US')}</text>`,
    `<text x="${left - 6}" y="${y + panelHeight}" text-anchor="end">0</text>`,
    ...bars,
  ].join('\n');
}

function draw([heading, faultLabel], { seconds: all, faultSeconds }) {
  const isEmpty = (second) => sum(Object.values(second)) === 0;
  const seconds = all.slice(0, all.findLastIndex((each) => !isEmpty(each)) + 1);
  const height = top + panels.length * (panelHeight + panelGap) + 6;
  const bottom = height - panelGap + 12;
  const xOf = (second) => left + (second * chartWidth) / seconds.length;
  const step = seconds.length > 60 ? 20 : 10;
  const ticks = Array.from({ length: Math.floor(seconds.length / step) + 1 }, (_, index) => index * step);
  const fault = faultLabel
    ? `<rect x="${left}" y="${top - 26}" width="${(xOf(faultSeconds) - left).toFixed(1)}" height="${bottom - top + 12}" class="fault"/>
<text x="${left + 6}" y="${bottom + 22}">${faultLabel}, ${faultSeconds} s</text>`
    : '';
  const failed = sum(seconds.map((second) => second.failed));
  const responses = sum(seconds.map((second) => second.succeeded + second.unavailable + second.failed));
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${left + chartWidth + 20} ${height}" role="img" aria-labelledby="title">
<title id="title">${heading}: ${responses} responses in ${seconds.length} seconds, ${failed} of them other errors than 503</title>
<style>
text { font: 13px system-ui, sans-serif; fill: #1f2328; white-space: pre; }
.heading { font-weight: 600; }
.axis { fill: none; stroke: #8c959f; }
.fault { fill: #8c959f; fill-opacity: 0.15; }
.good { fill: #1a7f37; }
.wait { fill: #d4a72c; }
.bad { fill: #cf222e; }
.request { fill: #8250df; }
.grant { fill: #b35900; }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3; }
  .axis { stroke: #656c76; }
  .good { fill: #3fb950; }
  .wait { fill: #e3b341; }
  .bad { fill: #f85149; }
  .request { fill: #ab7df8; }
  .grant { fill: #f0883e; }
}
</style>
<text x="14" y="26" class="heading">${heading}</text>
${fault}
${panels.map((panel, index) => drawPanel(panel, seconds, top + index * (panelHeight + panelGap))).join('\n')}
${ticks.map((tick) => `<text x="${xOf(tick).toFixed(1)}" y="${bottom}" text-anchor="middle">${tick} s</text>`).join('\n')}
</svg>
`;
}

const { results } = JSON.parse(readFileSync(argv[2], 'utf8'));
for (const { scenario, timeline } of results)
  if (timeline) writeFileSync(new URL(`${scenario}.svg`, import.meta.url), draw(charts[scenario], timeline));
