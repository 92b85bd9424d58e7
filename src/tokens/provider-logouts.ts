/** A logout that the provider has announced (OpenID Connect Back-Channel Logout 1.0). */
export interface ProviderLogout {
  /** The same whenever the provider sends it. */
  readonly id: string;
  /** The provider's session that has ended, or the user of whom all have. */
  readonly of: { readonly sid: string } | { readonly sub: string };
  /** The user, if the provider says who it is. */
  readonly sub: string | undefined;
  /** When it arrived, epoch milliseconds: what the user began afterwards continues. */
  readonly receivedAt: number;
  /** Until when it is accepted, epoch milliseconds. */
  readonly validUntil: number;
}

/**
 * What was done about a logout: `applied`, and the provider has been informed; or `deferred`: it was applied after the
 * provider had received an error, so that it may repeat the logout once.
 */
export type LogoutProgress = 'applied' | 'deferred';

/** How long a logout ends logins that were in progress when it arrived: as long as a login can take. */
export const loginsEndedForMs = 600_000;

/** Under what `endLogins` stores a logout, and `isLoginEnded` finds it: pairs of a kind and a value. */
type LogoutSelector = readonly [kind: 'sid' | 'sub' | 'sub without sid', value: string];

export function selectorsOfLogout({
  of,
  sub,
}: Pick<ProviderLogout, 'of' | 'sub'>): readonly LogoutSelector[] {
  if ('sub' in of) return [['sub', of.sub]];
  return [['sid', of.sid], ...(sub === undefined ? [] : ([['sub without sid', sub]] as const))];
}

export function selectorsOfLogin({ subject, sid }: LoginIdentity): readonly LogoutSelector[] {
  return [['sub', subject], sid === undefined ? ['sub without sid', subject] : ['sid', sid]];
}

/** Who is signing in, and in which session of the provider if it says so. */
export interface LoginIdentity {
  readonly subject: string;
  readonly sid?: string;
}

/**
 * The logouts of the last minutes. Only the provider can add to it, as each has a valid logout token. All methods reject
 * with `temporarily_unavailable` when the store is unavailable.
 */
export interface ProviderLogouts {
  /** `undefined` when nothing is known about this logout. */
  progressOf(id: string): Promise<LogoutProgress | undefined>;
  /** Remembers what was done, until the logout is no longer accepted. */
  remember(logout: Pick<ProviderLogout, 'id' | 'validUntil'>, progress: LogoutProgress): Promise<void>;
  /**
   * From now on, logins that began before the logout arrived count as ended: those of the session or user, and, if the
   * logout names both, those of the user of which the provider does not say to which session they belong.
   */
  endLogins(logout: Pick<ProviderLogout, 'of' | 'sub' | 'receivedAt'>): Promise<void>;
  /** True when the provider has ended the session of a login that began at `startedAt` (epoch milliseconds). */
  isLoginEnded(identity: LoginIdentity, startedAt: number): Promise<boolean>;
}
