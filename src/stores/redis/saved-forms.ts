import { createSealer } from '../../crypto/sealing.ts';
import type { Secret } from '../../crypto/secret.ts';
import { AppError, storeUnavailable } from '../../errors.ts';
import {
  getRemainingMs,
  maxFormsPerSession,
  type SavedForm,
  type SavedForms,
  savedFormTtlMs,
} from '../../saved-forms/saved-forms.ts';
import type { RedisConnection } from './connection.ts';

interface RedisSavedFormsOptions {
  readonly redis: RedisConnection;
  /** The first one seals, all of them unseal. */
  readonly secrets: readonly Secret[];
  readonly now: () => number;
}

/** Saved forms, sealed, that all instances on the same Redis share. */
export function createRedisSavedForms({ redis, secrets, now }: RedisSavedFormsOptions): SavedForms {
  const sealer = createSealer(secrets, 'kept_forms');

  function unsealForm(key: string, sealed: Buffer | null): SavedForm | undefined {
    const text = sealed && sealer.unseal(sealed, key);
    if (typeof text !== 'string') return undefined;
    const { body, ...rest } = JSON.parse(text) as Omit<SavedForm, 'body'> & { body: string }; // only we can have sealed it
    const form = { ...rest, body: Buffer.from(body, 'base64') };
    return getRemainingMs(form, now()) > 0 ? form : undefined;
  }

  return {
    put: (id, form) =>
      withStoreErrors(async () => {
        const key = keyOf(id);
        const ttlMs = getRemainingMs(form, now());
        if (ttlMs <= 0) return;
        const counter = `latchkey:kept-forms:${form.sessionId}`;
        const count = await redis.incr(counter);
        await redis.pexpire(counter, savedFormTtlMs);
        if (count > maxFormsPerSession) throw new AppError('too_many_requests');
        const text = JSON.stringify({ ...form, body: form.body.toString('base64') });
        await redis.set(key, sealer.seal(text, key), 'PX', ttlMs);
      }),
    peek: (id) => withStoreErrors(async () => unsealForm(keyOf(id), await redis.getBuffer(keyOf(id)))),
    take: (id) => withStoreErrors(async () => unsealForm(keyOf(id), await redis.getdelBuffer(keyOf(id)))),
  };
}

const keyOf = (id: string) => `latchkey:kept-form:${id}`;

async function withStoreErrors<T>(operation: () => Promise<T>): Promise<T> {
  try {
    return await operation();
  } catch (error) {
    throw error instanceof AppError ? error : storeUnavailable(error);
  }
}
