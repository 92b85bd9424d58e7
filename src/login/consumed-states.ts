/** As long as a state itself is valid. */
export const consumedForMs = 600_000;

/** Sees to it that each login transaction, named by its nonce, spends one authorization code only. */
export interface ConsumedStates {
  /** True for the one caller who may go on with this transaction. */
  consume(nonce: string): Promise<boolean>;
  /** Makes a transaction good again whose code the provider has not taken. */
  release(nonce: string): Promise<void>;
}
