import { formattersFor } from '../../src/pages/formatters.ts';

test('dates and numbers are formatted as the locale requires', () => {
  const noon = Date.UTC(2019, 4, 4, 12, 30);
  const table = ['en', 'en-GB', 'de'].map((locale) => {
    const { day, instant, number, fromNow } = formattersFor(locale);
    return [day('2019-05-04'), instant(noon), number(1234.5), fromNow(600)].map((each) =>
      each.replaceAll('\u202f', ' '),
    );
  });
  expect(table).toEqual([
    ['May 4, 2019', 'May 4, 2019 at 12:30 PM UTC', '1,234.5', 'in 10 minutes'],
    ['4 May 2019', '4 May 2019 at 12:30 UTC', '1,234.5', 'in 10 minutes'],
    ['4. Mai 2019', '4. Mai 2019 um 12:30 UTC', '1.234,5', 'in 10 Minuten'],
  ]);
});

test('formatters are created once for each locale, and only those of a few locales are kept in memory', () => {
  const first = formattersFor('en-US');
  expect(formattersFor('en-US')).toBe(first);
  for (const letter of 'ABCDEFGHIJKLMNOPQRSTUVWXYZ') formattersFor(`en-A${letter}`);
  expect(formattersFor('en-US')).not.toBe(first);
});
