/** How long a consumed state is remembered: as long as a state is valid. */
export const consumedStateTtlMs = 600_000;

/**
 * Makes each login transaction, identified by its nonce, redeem at most one authorization code. `consume` rejects with
 * `temporarily_unavailable` when the store is unavailable.
 */
export interface ConsumedStates {
  /** True for the one caller that may redeem the code of this transaction. */
  consume(nonce: string): Promise<boolean>;
  /** Undoes `consume`, so that the callback can be repeated after a transient failure. */
  release(nonce: string): Promise<void>;
}
