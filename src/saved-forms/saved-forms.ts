import { AppError } from '../errors.ts';

/** A form that the browser submitted after its session had ended. */
export interface SavedForm {
  /** The session it was submitted in. Only the user of that session may see and send the form. */
  readonly sessionId: string;
  /** As in `SessionOwner`; the forms of one user count together. */
  readonly userTag: string;
  readonly method: string;
  /** Path and query on our own origin. */
  readonly url: string;
  readonly contentType: string;
  readonly body: Buffer;
  /** Epoch milliseconds. */
  readonly keptAt: number;
}

/**
 * Stores forms for half an hour, so that their users can sign in and send them. Every method rejects with
 * `temporarily_unavailable` when the store is unavailable.
 */
export interface SavedForms {
  /**
   * Saves the form under `id`, until half an hour after its `keptAt`.
   * @throws AppError `too_many_requests`: a limit of `savedFormLimits` or `SAVED_FORMS_MAX_BYTES` is reached
   */
  put(id: string, form: SavedForm): Promise<void>;
  /** The form under `id`, which stays saved. */
  peek(id: string): Promise<SavedForm | undefined>;
  /** Removes and returns the form. Of concurrent callers, one gets it. */
  take(id: string): Promise<SavedForm | undefined>;
}

export const savedFormTtlMs = 1_800_000;

/** The limits besides `SAVED_FORMS_MAX_BYTES`. */
export const savedFormLimits = {
  formsOfUser: 20,
  /** As stored: encrypted, and in Redis also encoded. */
  bytesOfUser: 1_048_576,
  forms: 1_000,
} as const;

/** What one user's forms and all forms take now, including a form that is to be saved. */
export interface SavedFormUsage {
  readonly formsOfUser: number;
  readonly bytesOfUser: number;
  readonly forms: number;
  readonly bytes: number;
}

/** @throws AppError `too_many_requests`, with the limit that is exceeded as its cause */
export function checkSavedFormLimits(usage: SavedFormUsage, maxBytes: number): void {
  const exceeded =
    usage.bytes > maxBytes
      ? 'SAVED_FORMS_MAX_BYTES'
      : (Object.keys(savedFormLimits) as (keyof typeof savedFormLimits)[]).find(
          (limit) => usage[limit] > savedFormLimits[limit],
        );
  if (exceeded !== undefined)
    throw new AppError('too_many_requests', {
      cause: new Error(`limit of saved forms reached: ${exceeded}`),
    });
}

/** How much longer the form stays saved; 0 or negative once it has expired. */
export function getRemainingMs({ keptAt }: Pick<SavedForm, 'keptAt'>, now: number): number {
  return Math.ceil(keptAt + savedFormTtlMs - now);
}
