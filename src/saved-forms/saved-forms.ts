/** A form that the browser submitted after its session had ended. */
export interface SavedForm {
  /** The session it was submitted in. Only the user of that session may see and send the form. */
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
 * Stores forms for half an hour, so that their users can sign in and send them. Every method rejects with
 * `temporarily_unavailable` when the store is unavailable.
 */
export interface SavedForms {
  /**
   * Saves the form under `id`, until half an hour after its `keptAt`.
   * @throws AppError `too_many_requests`: twenty forms of the session are saved already
   */
  put(id: string, form: SavedForm): Promise<void>;
  /** The form under `id`, which stays saved. */
  peek(id: string): Promise<SavedForm | undefined>;
  /** Removes and returns the form. Of concurrent callers, one gets it. */
  take(id: string): Promise<SavedForm | undefined>;
}

export const savedFormTtlMs = 1_800_000;
export const maxFormsPerSession = 20;

/** How much longer the form stays saved; 0 or negative once it has expired. */
export function getRemainingMs({ keptAt }: SavedForm, now: number): number {
  return Math.ceil(keptAt + savedFormTtlMs - now);
}
