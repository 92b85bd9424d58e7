import { readFileSync } from 'node:fs';
import { auditEvents, auditFields, providerFailures } from '../../src/audit/audit-events.ts';

const page = readFileSync(new URL('../../docs/audit-log.md', import.meta.url), 'utf8');
const codesIn = (text: string) => [...text.matchAll(/`(\w+)`/g)].map(([, name]) => name!);
/** The first cells of the table after the line that begins with `heading`. */
const rowsAfter = (heading: string) => {
  const [, table = ''] = page.slice(page.indexOf(heading)).split(/^\|---.*$/m);
  return [
    ...table
      .trimStart()
      .split('\n\n')[0]!
      .matchAll(/^\| `(\w+)` \|/gm),
  ].map(([, name]) => name);
};

test('docs/audit-log.md lists every event with its outcome and its reasons, and no other', () => {
  const rows = [...page.matchAll(/^\| `(\w+)` \| (success|failure|unknown) \| [^|]+ \|([^|]*)\|$/gm)];
  const documented = rows.map(([, event, outcome, reasons = '']) => [
    event,
    {
      outcome,
      reasons: [
        ...codesIn(reasons),
        ...(reasons.includes('provider failures') ? providerFailures : []),
      ].sort(),
    },
  ]);
  const written = Object.entries(auditEvents).map(([event, { outcome, reasons }]) => [
    event,
    { outcome, reasons: [...reasons].sort() },
  ]);
  expect(documented).toEqual(written);
});

test('docs/audit-log.md explains every field, every provider failure and every reason for the end of a session', () => {
  expect(rowsAfter('## Fields')).toEqual(auditFields);
  expect(rowsAfter('### Provider failures')).toEqual(providerFailures);
  expect(rowsAfter('### Reasons for the end of a session')).toEqual(auditEvents.session_ended.reasons);
});
