import type { CodePage } from '../routes/code-pages.ts';

/** Your pages: a path, and a template in views/. docs/fork.md describes the fields. */
export const ownPages: readonly CodePage[] = [
  // { path: '/help', view: 'help' },
  // { path: '/account', view: 'account', requiresLogin: true, load: (req) => ({ name: req.login?.user.name }) },
];
