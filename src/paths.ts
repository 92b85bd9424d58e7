/**
 * Our own URLs. `docs/http-api.md` lists them for callers. All are under /auth, except the profile page, the route table and
 * the health endpoints, so that every other path can belong to a front end.
 */
export const paths = {
  home: '/',
  favicon: '/favicon.ico',
  profile: '/profile',
  health: '/healthz',
  ready: '/readyz',
  /** The sign-in page. */
  signIn: '/auth/sign-in',
  signedOut: '/auth/signed-out',
  savedForms: '/auth/resume',
  /** The page for developers. */
  developer: '/auth/developer',
  /** Sends the forms of the page for developers. */
  console: '/auth/console',
  /** The files of `public/`. */
  assets: '/auth/assets',
  login: '/auth/login',
  callback: '/auth/callback',
  refresh: '/auth/refresh',
  logout: '/auth/logout',
  session: '/auth/session',
  /** Receives the provider's logout tokens. */
  backchannelLogout: '/auth/backchannel-logout',
  /** The sessions of the user. */
  sessions: '/auth/sessions',
  /** The prefix of the routes in the route table. */
  api: '/api',
} as const;
