/** What a browser sent in a session that was over by then. */
export interface SavedForm {
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
export interface SavedForms {
  /**
   * The form waits under `id`, until half an hour after its `keptAt`.
   * @throws AppError `too_many_requests`: there are twenty of the same session already
   */
  put(id: string, form: SavedForm): Promise<void>;
  /** The form under `id`, which goes on waiting. */
  peek(id: string): Promise<SavedForm | undefined>;
  /** Removes and returns the form: of all who take it, one gets it. */
  take(id: string): Promise<SavedForm | undefined>;
}

export const savedForMs = 1_800_000;
export const maxPerSession = 20;

/** How much longer a form is kept. */
export function leftMs({ keptAt }: SavedForm, now: number): number {
  return Math.ceil(keptAt + savedForMs - now);
}
