/** How long consumed states and cancelled logins are remembered: as long as a state is valid. */
export const consumedStateTtlMs = 600_000;

/** The same after the provider has rejected the code, so that strangers who invent codes cannot fill the store. */
export const rejectedStateTtlMs = 60_000;

/**
 * Which logins can no longer be completed: each transaction, identified by its nonce, redeems at most one authorization
 * code, and a sign-out cancels the logins in progress in its browser, identified by its login cookie. All methods but
 * `release` and `forgetSoon` reject with `temporarily_unavailable` when the store is unavailable.
 */
export interface ConsumedStates {
  /** True for the one caller that may redeem the code of this transaction. */
  consume(nonce: string): Promise<boolean>;
  /** Undoes `consume`, so that the callback can be repeated after a transient failure. */
  release(nonce: string): Promise<void>;
  /** The state of a rejected login stays consumed for `rejectedStateTtlMs`. */
  forgetSoon(nonce: string): Promise<void>;
  /** No login of this browser that began at `at` (epoch milliseconds) or before may be completed. */
  cancel(binding: string, at: number): Promise<void>;
  /** True if the login of this browser that began at `requestedAt` has been cancelled. */
  isCancelled(binding: string, requestedAt: number): Promise<boolean>;
}
