import { isHashedName } from '../../src/front-end/hashed-name.ts';

test.each([
  ...[
    'index-BxY3_k9a.js',
    'index-D-aB3kQ9.css',
    'vendor-legacy-BxY3_k9a.js',
    'inter-latin-400-C38fXH4l.woff2',
  ],
  ...[
    'main.073c9b0a.js',
    '2.3f1d1a2b.chunk.js',
    'logo.6ce24c58023cc2f8fd88fe9d219db6c6.svg',
    'main.9f8e7d6c.css.map',
  ],
  ...[
    'main.5f8e1a0c7b9d3e2f.js',
    'd0a7f6c3b8e0a1b2c3d4.png',
    'main-5A7Q2X3B.js',
    'chunk-A3B4C5D6.js',
    'chunk-ABCDEFGH.js',
  ],
  ...[
    'index.1a2b3c4d.js',
    'DX3b_a1c.js',
    'start.DfY3kAb2.js',
    '4bd1b696.js',
    '0a1b2c3d._.js',
    'app.8a7b6c5d.min.js',
  ],
])('%s has a hash', (name) => expect(isHashedName(name)).toBe(true));

test.each([
  ...['index.html', 'index-BxY3_k9a.html', 'sw.js', 'app.js', 'main.bundle.js', 'favicon.ico', 'logo192.png'],
  ...['jquery-3.7.1.min.js', 'bootstrap.min.css', 'polyfills-es2015.js', 'book-chapter1.js', 'a-Section2.js'],
  ...['chunk-vendors.js', 'about-products.js', 'index-homepage.js', 'index-HomePage.js', 'page-UserList.js'],
  ...[
    'report-20240131.pdf',
    'log-20240131T120000Z.json',
    'deadbeef.js',
    'Inter-SemiBold.woff2',
    'a-ExtraBold.ttf',
  ],
])('%s has none', (name) => expect(isHashedName(name)).toBe(false));
