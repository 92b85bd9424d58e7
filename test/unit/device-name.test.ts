import { describeDevice } from '../../src/pages/device-name.ts';

const chrome = 'AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36';

test.each([
  [`Mozilla/5.0 (Windows NT 10.0; Win64; x64) ${chrome}`, 'Chrome', 'Windows', 'desktop'],
  [
    `Mozilla/5.0 (Windows NT 10.0; Win64; x64) ${chrome} Edg/141.0.0.0`,
    'Microsoft Edge',
    'Windows',
    'desktop',
  ],
  ['Mozilla/5.0 (X11; Linux x86_64; rv:143.0) Gecko/20100101 Firefox/143.0', 'Firefox', 'Linux', 'desktop'],
  [
    'Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Mobile/15E148 Safari/604.1',
    'Safari',
    'iOS',
    'mobile',
  ],
  [
    'Mozilla/5.0 (iPad; CPU OS 17_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/120 Mobile/15E148 Safari/604.1',
    'Chrome',
    'iOS',
    'tablet',
  ],
])('names the browser and device of %s', (userAgent, browser, os, kind) => {
  expect(describeDevice(userAgent)).toEqual({ browser, os, kind });
});

test.each([
  undefined,
  '',
  'curl/8.5.0',
  'Approved by support/1.0',
  'Mozilla/5.0 <img src=x>/1',
  '<script>alert(1)</script>',
  'x'.repeat(100_000),
])('shows nothing of a user agent that it does not know: %.60s', (userAgent) => {
  expect(describeDevice(userAgent)).toEqual({});
});

test('shows only usual names, whatever else a user agent of a known browser says', () => {
  const userAgent = `Mozilla/5.0 (Linux; Android 14; Trusted by Example Bank Build/1) ${chrome}`;
  expect(describeDevice(userAgent)).toEqual({ browser: 'Chrome', os: 'Android', kind: expect.any(String) });
});
