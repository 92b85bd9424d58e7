/** Collects the results of one scenario's promises, and its notes and table. */
export function createReport(scenario) {
  const rows = Object.entries(scenario.promises).map(([key, promise]) => ({
    key,
    promise,
    result: 'NOT RUN',
  }));
  const notes = [];
  let table;
  let timeline;
  return {
    /** Records whether a promise was kept. */
    check(key, isKept, measured) {
      const row = rows.find((each) => each.key === key);
      if (!row) throw new Error(`${scenario.name} makes no promise called ${key}`);
      Object.assign(row, { result: isKept ? 'OK' : 'BROKEN', measured });
    },
    /** Adds a measurement that no promise covers. */
    note(text) {
      notes.push(text);
    },
    /** Sets the table to print: a list of rows, the header row first. */
    setTable(lines) {
      table = lines;
    },
    /** Sets what happened in each second, for a chart; see timeline.mjs. */
    setTimeline(value) {
      timeline = value;
    },
    result: (more) => ({
      ...{ scenario: scenario.name, ...more, rows, notes },
      ...(table && { table }),
      ...(timeline && { timeline }),
    }),
  };
}

export function printScenario({ scenario, description, seconds, rows, notes, table, error }) {
  console.log(`\n${scenario}: ${description} (${seconds.toFixed(0)} s)`);
  for (const { promise, measured, result } of rows)
    console.log(`  ${result.padEnd(8)} ${promise}\n           measured: ${measured ?? '-'}`);
  for (const note of notes) console.log(`           ${note}`);
  if (table) printTable(table);
  if (error) console.log(`  FAILED   ${error}`);
}

function printTable(lines) {
  const widths = lines[0].map((_, column) => Math.max(...lines.map((line) => line[column].length)));
  const [header, ...body] = lines.map((line) =>
    line.map((cell, column) => cell.padEnd(widths[column])).join(' | '),
  );
  const separator = widths.map((width) => '-'.repeat(width)).join('-|-');
  console.log(`\n  ${[header, separator, ...body].join('\n  ')}`);
}

export function printSummary(results) {
  const rows = results.flatMap(({ scenario, rows: all }) => all.map((row) => [scenario, row]));
  const width = Math.max(...rows.map(([, { promise }]) => promise.length));
  const printRow = (scenario, promise, result, measured) =>
    console.log(`${scenario.padEnd(17)} ${promise.padEnd(width)}  ${result.padEnd(8)} ${measured ?? '-'}`);
  console.log('');
  printRow('scenario', 'promise', 'result', 'measured');
  for (const [scenario, { promise, result, measured }] of rows) printRow(scenario, promise, result, measured);
}
