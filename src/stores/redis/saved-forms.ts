import { createSealer, type KeySource } from '../../crypto/sealing.ts';
import { AppError, storeUnavailable } from '../../errors.ts';
import {
  checkSavedFormLimits,
  getRemainingMs,
  type SavedForm,
  type SavedForms,
  savedFormLimits,
  savedFormTtlMs,
} from '../../saved-forms/saved-forms.ts';
import type { RedisConnection } from './connection.ts';
import { defaultKeyPrefix } from './keys.ts';
import { putWithinLimits, takeForm } from './lua/saved-form-scripts.ts';

interface RedisSavedFormsOptions extends KeySource {
  readonly redis: RedisConnection;
  readonly keyPrefix?: string;
  readonly now: () => number;
  /** The maximum size of all saved forms together, as they are stored. */
  readonly maxBytes: number;
}

/**
 * Saved forms, sealed, that all instances of one client registration on the same Redis share. A ledger lists them with
 * their sizes. All keys have the same hash tag, so that one script can check the limits and save, on a cluster too.
 */
export function createRedisSavedForms(options: RedisSavedFormsOptions): SavedForms {
  const { redis, registration, keyPrefix = defaultKeyPrefix, now, maxBytes } = options;
  const sealer = createSealer(options, 'kept_forms');
  const prefix = `${keyPrefix}saved-forms:{${registration}}`;
  const keyOf = (id: string) => `${prefix}:${id}`;
  const ledger = `${prefix}:ledger`;

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
        const sealed = sealer.seal({ ...form, body: form.body.toString('base64') }, key);
        const { formsOfUser: maxFormsOfUser, bytesOfUser: maxBytesOfUser, forms: maxForms } = savedFormLimits;
        const entry = [id, form.userTag, sealed, ttlMs, now(), savedFormTtlMs];
        const limits = [maxFormsOfUser, maxBytesOfUser, maxForms, maxBytes];
        const usage = await redis.eval(putWithinLimits, 2, key, ledger, ...entry, ...limits);
        const [formsOfUser, bytesOfUser, forms, bytes] = usage as [number, number, number, number];
        checkSavedFormLimits({ formsOfUser, bytesOfUser, forms, bytes }, maxBytes);
      }),
    peek: (id) => withStoreErrors(() => peek(keyOf(id))),
    take: (id) =>
      withStoreErrors(async () => {
        const key = keyOf(id);
        if (!(await peek(key))) return undefined; // throws before a form that is unreadable here would be removed
        return unsealForm(key, (await redis.evalBuffer(takeForm, 2, key, ledger, id)) as Buffer | null);
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
