/** Our own URLs. `docs/http-api.md` lists them for callers. */
export const paths = {
  home: '/',
  /** The sign-in page. */
  signIn: '/login',
  signedOut: '/signed-out',
  profile: '/profile',
  savedForms: '/resume',
  console: '/console',
  assets: '/assets',
  health: '/healthz',
  ready: '/readyz',
  /** The prefix of the login and session endpoints. */
  auth: '/auth',
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
