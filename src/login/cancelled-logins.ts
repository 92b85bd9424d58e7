import type { Logger } from '../logger.ts';
import type { Identity } from '../oauth/id-token.ts';
import type { ProviderLogouts } from '../tokens/provider-logouts.ts';
import type { ConsumedStates } from './consumed-states.ts';
import type { LoginTransaction } from './login-transaction.ts';

type Cancellable = Pick<LoginTransaction, 'binding' | 'requestedAt'>;

interface CancelledLoginsParts {
  readonly consumedStates: Pick<ConsumedStates, 'isCancelled'>;
  readonly providerLogouts: Pick<ProviderLogouts, 'isLoginEnded'>;
}

/** Which logins in progress must not be completed, because their user has signed out since they began. */
export function createCancelledLogins({ consumedStates, providerLogouts }: CancelledLoginsParts) {
  /** True when the user has signed out in this browser since the login began. */
  function isCancelled({ binding, requestedAt }: Cancellable): Promise<boolean> {
    return consumedStates.isCancelled(binding, requestedAt);
  }

  /**
   * As `isCancelled`, or the provider has ended the session of `identity`. The code has been redeemed, so that a store that
   * is unavailable must not fail the login.
   */
  async function wasCancelled(
    transaction: Cancellable,
    log: Pick<Logger, 'warn'>,
    identity?: Identity,
  ): Promise<boolean> {
    const isEnded = identity && providerLogouts.isLoginEnded(identity, transaction.requestedAt);
    try {
      return (await Promise.all([isCancelled(transaction), isEnded])).includes(true);
    } catch (failure) {
      log.warn({ err: failure }, 'cannot check whether the user has signed out during the login');
      return false;
    }
  }

  return { isCancelled, wasCancelled };
}
