const [left, barHeight, gap, top, barWidth] = [176, 26, 12, 46, 420];

/** A bar chart of the CPU time per request, as SVG that is readable in light and dark mode. */
export function drawChart(summaries, descriptions, subtitle) {
  const highest = Math.max(...summaries.map(({ cpuMicros }) => cpuMicros));
  const height = top + summaries.length * (barHeight + gap) + 34;
  const width = left + barWidth + 90;
  const bars = summaries.map(({ name, cpuMicros }, index) => {
    const y = top + index * (barHeight + gap);
    const length = Math.max(1, (cpuMicros / highest) * barWidth).toFixed(1);
    return [
      `<g><title>${escapeXml(`${name}: ${descriptions[name] ?? name}`)}</title>`,
      `<text x="${left - 10}" y="${y + 18}" text-anchor="end">${escapeXml(name)}</text>`,
      `<rect x="${left}" y="${y}" width="${length}" height="${barHeight}" rx="3" class="${name === 'latchkey' ? 'own' : 'bar'}"/>`,
      `<text x="${(left + Number(length) + 8).toFixed(1)}" y="${y + 18}">${cpuMicros.toFixed(0)} µs</text></g>`,
    ].join('');
  });
  const values = summaries.map(({ name, cpuMicros }) => `${name} ${cpuMicros.toFixed(0)} µs`).join(', ');
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" role="img" aria-labelledby="title">
<title id="title">${escapeXml(`CPU time per proxied request: ${values}`)}</title>
<style>
text { font: 13px system-ui, sans-serif; fill: #1f2328; }
.heading { font-weight: 600; }
.bar { fill: #8c959f; }
.own { fill: #b35900; }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3; }
  .bar { fill: #656c76; }
  .own { fill: #f0883e; }
}
</style>
<text x="14" y="26" class="heading">CPU time per signed-in GET of 1 KB, less is better</text>
${bars.join('\n')}
<text x="14" y="${height - 14}">${escapeXml(subtitle)}</text>
</svg>
`;
}

const escapeXml = (text) => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
