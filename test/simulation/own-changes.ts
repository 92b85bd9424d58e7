import type { TokenStore } from '../../src/tokens/token-store.ts';

/** Which sessions the code of one process is changing, and when it has changed each of them last. */
export class OwnChanges {
  readonly #inProgress = new Map<string, number>();
  readonly #endedAt = new Map<string, number>();

  constructor(private readonly nowMs: () => number) {}

  /** `store`, whose calls are counted here. */
  watch(store: TokenStore): TokenStore {
    return {
      ...store,
      put: (id, record) => this.#count(id, () => store.put(id, record)),
      take: (id, reason, beforeRemoval) => this.#count(id, () => store.take(id, reason, beforeRemoval)),
      update: (id, change, onDiscarded) => this.#count(id, () => store.update(id, change, onDiscarded)),
    };
  }

  /** The last time, now at most, at which the process was changing this session. */
  lastAt(id: string): number {
    return this.#inProgress.has(id) ? this.nowMs() : (this.#endedAt.get(id) ?? Number.NEGATIVE_INFINITY);
  }

  async #count<T>(id: string, work: () => Promise<T>): Promise<T> {
    this.#inProgress.set(id, (this.#inProgress.get(id) ?? 0) + 1);
    try {
      return await work();
    } finally {
      const others = this.#inProgress.get(id)! - 1;
      if (others > 0) this.#inProgress.set(id, others);
      else this.#inProgress.delete(id);
      this.#endedAt.set(id, this.nowMs());
    }
  }
}
