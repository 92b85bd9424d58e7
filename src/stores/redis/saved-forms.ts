import { createSealer, type KeySource } from '../../crypto/sealing.ts';
import { AppError, storeUnavailable } from '../../errors.ts';
import {
  getRemainingMs,
  maxFormsPerSession,
  type SavedForm,
  type SavedForms,
  savedFormTtlMs,
} from '../../saved-forms/saved-forms.ts';
import type { RedisConnection } from './connection.ts';
import { defaultKeyPrefix } from './keys.ts';

interface RedisSavedFormsOptions extends KeySource {
  readonly redis: RedisConnection;
  readonly keyPrefix?: string;
  readonly now: () => number;
}

/** Saved forms, sealed, that all instances of one client registration on the same Redis share. */
export function createRedisSavedForms(options: RedisSavedFormsOptions): SavedForms {
  const { redis, registration, keyPrefix = defaultKeyPrefix, now } = options;
  const sealer = createSealer(options, 'kept_forms');
  const keyOf = (id: string) => `${keyPrefix}kept-form:${registration}:${id}`;
  const counterOf = (sessionId: string) => `${keyPrefix}kept-forms:${registration}:${sessionId}`;

  function unsealForm(key: string, sealed: Buffer | null): SavedForm | undefined {
    if (!sealed) return undefined;
    const stored = sealer.unseal(sealed, key) as (Omit<SavedForm, 'body'> & { body: string }) | undefined; // only we can have sealed it
    // Not "absent": another instance may have a secret that this one does not have yet, or be of a newer version.
    if (!stored)
      throw new Error('cannot read a saved form: sealed with an unknown secret, or by a newer version');
    const form = { ...stored, body: Buffer.from(stored.body, 'base64') };
    return getRemainingMs(form, now()) > 0 ? form : undefined;
  }

  const peek = async (key: string) => unsealForm(key, await redis.getBuffer(key));

  return {
    put: (id, form) =>
      withStoreErrors(async () => {
        const key = keyOf(id);
        const ttlMs = getRemainingMs(form, now());
        if (ttlMs <= 0) return;
        const counter = counterOf(form.sessionId);
        const count = await redis.incr(counter);
        await redis.pexpire(counter, savedFormTtlMs);
        if (count > maxFormsPerSession) throw new AppError('too_many_requests');
        const stored = { ...form, body: form.body.toString('base64') };
        await redis.set(key, sealer.seal(stored, key), 'PX', ttlMs);
      }),
    peek: (id) => withStoreErrors(() => peek(keyOf(id))),
    take: (id) =>
      withStoreErrors(async () => {
        await peek(keyOf(id)); // throws before a form that is unreadable here would be removed
        return unsealForm(keyOf(id), await redis.getdelBuffer(keyOf(id)));
      }),
  };
}

async function withStoreErrors<T>(operation: () => Promise<T>): Promise<T> {
  try {
    return await operation();
  } catch (error) {
    throw error instanceof AppError ? error : storeUnavailable(error);
  }
}
