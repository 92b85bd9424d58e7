import type { Request } from 'express';
import type { ConsumedStates } from './consumed-states.ts';
import type { LoginTransaction } from './login-transaction.ts';

/** Whether the user has signed out in this browser since a login began. */
export function createCancelledLogins(consumedStates: Pick<ConsumedStates, 'isCancelled'>) {
  function isCancelled({ binding, requestedAt }: LoginTransaction): Promise<boolean> {
    return consumedStates.isCancelled(binding, requestedAt);
  }

  /** As `isCancelled`, once the code has been redeemed: then a store that is unavailable must not fail the login. */
  function wasCancelled(req: Request, transaction: LoginTransaction): Promise<boolean> {
    return isCancelled(transaction).catch((failure) => {
      req.log.warn({ err: failure }, 'cannot check whether the user has signed out during the login');
      return false;
    });
  }

  return { isCancelled, wasCancelled };
}
