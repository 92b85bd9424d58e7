/** Hosts of an attacker, in the spellings a browser may understand. */
const hosts = [
  'evil.example',
  'EVIL.example',
  'evil.example.',
  'evil.example:443',
  '203.0.113.7',
  '3405803783',
  '0xCB007107',
  '[2001:db8::7]',
  'bücher.example',
  'ｅｖｉｌ．ｅｘａｍｐｌｅ',
  'evil。example',
  'xn--bcher-kva.example',
];

/** `H` is a host, `O` our origin, `N` our host name. */
const withHost = [
  '//H',
  '///H',
  '////H',
  '//H/profile',
  '//H:80/profile',
  '/\\H',
  '\\/H',
  '\\\\H',
  '\\\\\\H',
  '/\\/H',
  '/./\\H',
  '/.//H',
  './/H',
  '/..//H',
  '/x/..//H',
  '/x/../..//H',
  '/%2e//H',
  '/%2E%2E//H',
  '/.%2e//H',
  '/%2f/H',
  '/%2f%2fH',
  '/%5cH',
  '/%5c%5cH',
  '%2f%2fH',
  '%5c%5cH',
  '%252f%252fH',
  '/%252f/H',
  '%25252f%25252fH',
  '/\t/H',
  '\t//H',
  '/\n/H',
  '/\r\n/H',
  '\r\n//H',
  '/\0/H',
  '\0//H',
  ' //H',
  '\u00a0//H',
  '\ufeff//H',
  '\u200b//H',
  '\v//H',
  '\f//H',
  '/%09/H',
  '/%0a/H',
  '/%0d%0a/H',
  '/%00/H',
  '／／H',
  '/／H',
  '⁄⁄H',
  '∕∕H',
  '＼＼H',
  '/．//H',
  '/․․//H',
  'http://H',
  'https://H',
  'HTTPS://H',
  'HtTp:H',
  'http:H',
  'http:/H',
  'http:\\\\H',
  'http:///H',
  'https:/\\H',
  'ht\ntp://H',
  'h\tttps://H',
  '\x01http://H',
  'ftp://H',
  'ws://H',
  'wss://H',
  'gopher://H',
  '//N@H',
  '//N:80@H',
  '//N%40H',
  'O@H',
  'O:x@H',
  'O.H',
  'O\\@H',
  'O%2f@H',
  'http://N%2eH',
  'http://N%00.H',
  '//user:password@H/',
  'http://H\\@N/',
  'http://H#@N/',
  'http://H?@N/',
  'javascript://H/%0aalert(1)',
  'data://H/text/html,x',
  'intent://H/#Intent;scheme=https;end',
  'view-source:http://H',
  'jar:http://H!/x',
  '/redirect?to=//H/../..//H',
  '/profile\r\nLocation: http://H',
  '/profile%0d%0aLocation:%20http://H',
  '/profile\u560d\u560aLocation: http://H', // its low bytes are CR and LF
];

/** Payloads that need no host of the attacker. */
const withoutHost = [
  'javascript:alert(1)',
  'JaVaScRiPt:alert(1)',
  'java\nscript:alert(1)',
  ' javascript:alert(1)',
  '\x00javascript:alert(1)',
  'javascript&colon;alert(1)',
  'javascript:alert(1)//O/profile',
  'data:text/html,<script>alert(1)</script>',
  'data:text/html;base64,PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==',
  'DATA:text/html,x',
  'vbscript:msgbox(1)',
  'file:///etc/passwd',
  'about:blank',
  'mailto:a@evil.example',
  'blob:O/6b1f3c9e-0000-4000-8000-000000000000',
  'BLOB:O/6b1f3c9e',
  'bl\tob:O/x',
  'blob:https://evil.example/x',
  'filesystem:O/temporary/x.html',
  'http://user@N/',
  'http://user:password@N/',
  'http://:@N/',
  'http://@N/',
  'O:1/',
  'O:99999/',
  'O0/',
  'http://',
  'http:',
  '//',
  '///',
  '\\',
  ':',
  '://',
  '#//evil.example',
  '?//evil.example',
  '?next=//evil.example',
  '',
  ' ',
  '\0',
  '\ud800',
  '//[::1',
  '//%',
  '/%',
  '/%zz',
  '/%c0%af%c0%afevil.example',
  `/${'a'.repeat(5_000)}`,
  `//evil.example/${'a'.repeat(5_000)}`,
  `${'/'.repeat(3_000)}evil.example`,
  `/${'../'.repeat(600)}/evil.example`,
];

/** Payloads that would cause a redirect loop: the sign-in page, or paths below `/auth`. */
export const circular = [
  '/auth/login',
  '/auth/login?return_to=/auth/login',
  '/auth/callback',
  '/auth/callback?state=x&code=y',
  '/auth/logout',
  '/auth/refresh',
  '/auth/session',
  '/auth',
  '/auth/',
  '/auth?x',
  '/auth#x',
  '/auth/sign-in',
  '/auth/sign-in/',
  '/auth/sign-in?return_to=/auth/sign-in',
  '/auth/sign-in#x',
  '/AUTH/login',
  '/Auth/Sign-in',
  'auth/sign-in',
  './auth/sign-in',
  'auth/login',
  '/./auth/sign-in',
  '/x/../auth/sign-in',
  '/%2e/auth/sign-in',
  '/x/%2e%2e/auth/login',
  '\\auth/sign-in',
  '/\tauth/sign-in',
  '/au\nth/sign-in',
  'O/auth/sign-in',
  'O/auth/login',
  'O//auth/sign-in',
  'O//auth/login',
  'O\\auth\\login',
  'O/.//auth/sign-in',
  '/.//auth/sign-in',
  '/.//auth/callback',
  '/auth/resume',
  '/auth/resume/',
  '/auth/resume/../login',
  '/auth/resume/%2e%2e/login',
  '/auth/resume/..%2flogin',
  '/auth/resume/x/../../login',
  '/auth/resume/x/discard',
  '/auth//resume/x',
  '//auth/resume/x',
];

function* encodings(payload: string): Generator<string> {
  yield payload;
  const encoded = new URLSearchParams({ x: payload }).toString().slice(2); // accepts lone surrogates, too
  if (encoded !== payload && encoded.length < 200) {
    yield encoded;
    yield encodeURIComponent(encoded);
  }
}

/** Every payload against `origin`, without duplicates. */
export function redirectPayloads(origin: string): readonly string[] {
  const name = new URL(origin).host;
  const fillIn = (template: string) => template.replaceAll('O', origin).replaceAll('N', name);
  const payloads = [
    ...hosts.flatMap((host) => withHost.map((template) => fillIn(template).replaceAll('H', host))),
    ...[...withoutHost, ...circular].map(fillIn),
  ];
  return [...new Set(payloads.flatMap((each) => [...encodings(each)]))];
}

/** Payloads of every kind with a single host, for tests in which each payload needs a whole login. */
export function redirectSample(origin: string): readonly string[] {
  const name = new URL(origin).host;
  return [...withHost, ...withoutHost, ...circular].map((template) =>
    template.replaceAll('O', origin).replaceAll('N', name).replaceAll('H', 'evil.example'),
  );
}

/** The problem with a redirect to `address`, as resolved by a browser on `page` of `origin`, or undefined. */
export function findDanger(
  address: string,
  origin: string,
  page = `${origin}/auth/callback`,
): string | undefined {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: the attacks use them
  if (/[\u0000-\u0020\u007f-\uffff]/.test(address)) return 'has characters that no header may have';
  if (!address.startsWith(`${origin}/`)) return 'does not begin with our origin';
  const url = new URL(address); // absolute, or this throws
  if (url.origin !== origin || new URL(address, page).origin !== origin) return 'leaves our origin';
  if (url.protocol !== 'http:' && url.protocol !== 'https:') return 'is not http or https';
  if (url.username || url.password) return 'has a user name';
  const path = url.pathname.toLowerCase().replace(/^\/+/, '/');
  if (/^\/(auth|login)([/?#]|$)/.test(path)) return 'causes a redirect loop';
  return undefined;
}
