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
    'chunk-QUKRKDLT.js',
  ],
  ...[
    'index.1a2b3c4d.js',
    'D3b_a1Qc.js',
    'start.DfY3kAb2.js',
    '4bd1b696.js',
    '0a1b2c3d._.js',
    'app.8a7b6c5d.min.js',
  ],
  // Names of real builds with hashes that are mostly letters.
  ...['index-BnQkOdFO.css', 'codicon-DCm3Q8ay.ttf', 'uiMode.CyMfwkXJ.css', 'module--QdMvsKi.css'],
  ...['polyfills-FFHMD2TL.js', 'chunk-EQDQRRRY.js', 'styles-5INURTSO.css', 'assets/index-BwOQBGhZ.js'],
  ...['_app/immutable/chunks/entry.js', 'immutable/index-homepage.js', 'a/immutable/chapter1.png'],
])('%s has a hash', (name) => expect(isHashedName(name)).toBe(true));

test.each([
  ...['index.html', 'index-BxY3_k9a.html', 'sw.js', 'app.js', 'main.bundle.js', 'favicon.ico', 'logo192.png'],
  ...['jquery-3.7.1.min.js', 'bootstrap.min.css', 'polyfills-es2015.js', 'book-chapter1.js', 'a-Section2.js'],
  ...['chunk-vendors.js', 'about-products.js', 'index-homepage.js', 'index-HomePage.js', 'page-UserList.js'],
  ...[
    'Inter-Regular.woff2',
    'IMG_1234.jpg',
    'DSC_0001.JPG',
    'Logo_big.png',
    'My-Photo.jpg',
    'docs-JSONView.js',
  ],
  ...[
    'SECURITY.md',
    'icon-CALENDAR.svg',
    'StringIO.py',
    'EMU10K1X.conf',
    'team-IMG_1234.jpg',
    'a-Meta_1_0.js',
  ],
  ...['app-SETTINGS.js', 'page-HTMLView.js', 'brand-ACME_2x1.png', 'TopAndL2.js', 'a/immutable.js'],
  ...['immutable/page.html', 'immutables/app.js', 'index-BnQkOdFO.css/app.js'],
  ...[
    'report-20240131.pdf',
    'log-20240131T120000Z.json',
    'deadbeef.js',
    'Inter-SemiBold.woff2',
    'a-ExtraBold.ttf',
  ],
])('%s has none', (name) => expect(isHashedName(name)).toBe(false));
