import { AppError, storeUnavailable } from '../errors.ts';
import { deriveKey, open, seal } from '../sealing.ts';
import type { Secret } from '../secret.ts';
import type { RedisConnection } from './redis-connection.ts';

/** What a browser sent in a session that was over by then. */
export interface KeptForm {
  /** The session it was sent in; only the person whose it was may see the form and send it. */
  readonly sessionId: string;
  readonly method: string;
  /** Path and query on our own origin. */
  readonly url: string;
  readonly contentType: string;
  readonly body: Buffer;
  /** Epoch milliseconds. */
  readonly keptAt: number;
}

/**
 * Forms that wait for their person to sign in again, for half an hour. Every verb rejects with
 * `temporarily_unavailable` when the store cannot tell.
 */
export interface KeptForms {
  /**
   * The form waits under `id`, until half an hour after its `keptAt`.
   * @throws AppError `too_many_requests`: there are twenty of the same session already
   */
  put(id: string, form: KeptForm): Promise<void>;
  /** The form under `id`, which goes on waiting. */
  peek(id: string): Promise<KeptForm | undefined>;
  /** Removes and returns the form: of all who take it, one gets it. */
  take(id: string): Promise<KeptForm | undefined>;
}

export const keptForMs = 1_800_000;
const mostInMemory = 200;
const mostOfSession = 20;

/** Keeps forms in this process, the newest two hundred of them. */
export function createMemoryKeptForms(now: () => number): KeptForms {
  const forms = new Map<string, KeptForm>();

  function forgetThePast(): void {
    for (const [id, form] of forms) if (leftMs(form, now()) <= 0) forms.delete(id);
    const [oldest] = forms.keys();
    if (oldest !== undefined && forms.size >= mostInMemory) forms.delete(oldest);
  }

  function live(id: string): KeptForm | undefined {
    const form = forms.get(id);
    return form && leftMs(form, now()) > 0 ? form : undefined;
  }

  return {
    async put(id, form) {
      forgetThePast();
      const ofSession = [...forms.values()].filter(({ sessionId }) => sessionId === form.sessionId);
      if (ofSession.length >= mostOfSession) throw new AppError('too_many_requests');
      if (leftMs(form, now()) > 0) forms.set(id, form);
    },
    peek: async (id) => live(id),
    async take(id) {
      const form = live(id);
      forms.delete(id);
      return form;
    },
  };
}

interface RedisKeptFormsOptions {
  readonly redis: RedisConnection;
  /** The first seals, all open. */
  readonly secrets: readonly Secret[];
  readonly now: () => number;
}

/** Keeps forms, sealed, for every instance on the same Redis. */
export function createRedisKeptForms({ redis, secrets, now }: RedisKeptFormsOptions): KeptForms {
  const sealingKeys = secrets.map((secret) => deriveKey(secret, 'kept_forms'));

  function unseal(key: string, sealed: Buffer | null): KeptForm | undefined {
    if (!sealed) return undefined;
    for (const sealingKey of sealingKeys) {
      const text = open(sealingKey, sealed, key);
      if (text === undefined) continue;
      const { body, ...rest } = JSON.parse(text) as Omit<KeptForm, 'body'> & { body: string }; // only we can have sealed it
      const form = { ...rest, body: Buffer.from(body, 'base64') };
      return leftMs(form, now()) > 0 ? form : undefined;
    }
    return undefined;
  }

  return {
    put: (id, form) =>
      asked(async () => {
        const key = keyOf(id);
        const waitMs = leftMs(form, now());
        if (waitMs <= 0) return;
        const counter = `latchkey:kept-forms:${form.sessionId}`;
        const count = await redis.incr(counter);
        await redis.pexpire(counter, keptForMs);
        if (count > mostOfSession) throw new AppError('too_many_requests');
        const text = JSON.stringify({ ...form, body: form.body.toString('base64') });
        await redis.set(key, seal(sealingKeys[0]!, text, key), 'PX', waitMs);
      }),
    peek: (id) => asked(async () => unseal(keyOf(id), await redis.getBuffer(keyOf(id)))),
    take: (id) => asked(async () => unseal(keyOf(id), await redis.getdelBuffer(keyOf(id)))),
  };
}

const keyOf = (id: string) => `latchkey:kept-form:${id}`;

function leftMs({ keptAt }: KeptForm, now: number): number {
  return Math.ceil(keptAt + keptForMs - now);
}

async function asked<T>(question: () => Promise<T>): Promise<T> {
  try {
    return await question();
  } catch (error) {
    throw error instanceof AppError ? error : storeUnavailable(error);
  }
}
