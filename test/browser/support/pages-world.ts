import { failAtStep } from '../../support/fail-at-step.ts';
import { createWorld, type World } from '../../support/world.ts';

/** A world whose store and rate limit can be made to fail. */
export interface PagesWorld extends World {
  /** Makes reads of the token store fail, or work again. */
  setStoreUnavailable(isUnavailable: boolean): void;
  /** Makes every request to /auth/* exceed the rate limit, or stay below it. */
  setRateLimited(isRateLimited: boolean): void;
}

export async function createPagesWorld(): Promise<PagesWorld> {
  const step: { name: string | undefined } = { name: undefined };
  let isRateLimited = false;
  const world = await createWorld({
    env: {
      OAUTH2_SCOPES: 'openid profile email read:profile read:data write:data',
      OAUTH2_PROVIDER_NAME: 'Garden House',
      AUTH_RATE_LIMIT: '600',
    },
    wrap: ({ tokenStore }) => ({
      tokenStore: failAtStep(tokenStore, step),
      rateLimitStore: () => ({
        increment: () => ({
          totalHits: isRateLimited ? 601 : 1,
          resetTime: new Date(Date.now() + 42_000),
        }),
        decrement() {},
        resetKey() {},
      }),
    }),
  });
  return {
    ...world,
    setStoreUnavailable(isUnavailable) {
      step.name = isUnavailable ? 'get' : undefined;
    },
    setRateLimited(value) {
      isRateLimited = value;
    },
  };
}
