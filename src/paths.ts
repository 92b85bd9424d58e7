/** Our own URLs. `docs/http-api.md` lists them for callers. */
export const paths = {
  home: '/',
  /** The page that asks the user to sign in. */
  signIn: '/login',
  signedOut: '/signed-out',
  profile: '/profile',
  savedForms: '/resume',
  console: '/console',
  assets: '/assets',
  health: '/healthz',
  /** The protocol's endpoints. */
  auth: '/auth',
  login: '/auth/login',
  callback: '/auth/callback',
  refresh: '/auth/refresh',
  logout: '/auth/logout',
  session: '/auth/session',
  /** The routes of the route table. */
  api: '/api',
} as const;
