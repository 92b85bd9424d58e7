import type { Adapter, AdapterPayload } from 'oidc-provider';

interface Entry {
  readonly payload: AdapterPayload;
  /** Epoch milliseconds. */
  readonly expiresAt: number;
}

const writesBetweenSweeps = 1_000;

/**
 * In-memory storage for one model of one provider (its sessions, its access tokens). Each provider creates its own
 * adapters, so two providers in one process share no data; the library's in-memory adapter does not guarantee that.
 */
export class MemoryAdapter implements Adapter {
  readonly #entries = new Map<string, Entry>();
  readonly #idsByUid = new Map<string, string>();
  readonly #idsByGrant = new Map<string, Set<string>>();
  #writes = 0;

  async upsert(id: string, payload: AdapterPayload, expiresInSeconds?: number): Promise<void> {
    const expiresAt = expiresInSeconds === undefined ? Infinity : Date.now() + expiresInSeconds * 1_000;
    this.#entries.set(id, { payload: structuredClone(payload), expiresAt });
    if (payload.uid !== undefined) this.#idsByUid.set(payload.uid, id);
    if (payload.grantId !== undefined) {
      const ids = this.#idsByGrant.get(payload.grantId) ?? new Set();
      this.#idsByGrant.set(payload.grantId, ids.add(id));
    }
    if (++this.#writes % writesBetweenSweeps === 0) this.#sweep();
  }

  async find(id: string): Promise<AdapterPayload | undefined> {
    const entry = this.#entries.get(id);
    if (entry === undefined || entry.expiresAt <= Date.now()) return undefined;
    return structuredClone(entry.payload);
  }

  async findByUid(uid: string): Promise<AdapterPayload | undefined> {
    const id = this.#idsByUid.get(uid);
    return id === undefined ? undefined : this.find(id);
  }

  /** Always `undefined`: the demo provider has no device flow, so there are no user codes. */
  async findByUserCode(): Promise<undefined> {
    return undefined;
  }

  async consume(id: string): Promise<void> {
    const entry = this.#entries.get(id);
    if (entry !== undefined) entry.payload.consumed = Math.floor(Date.now() / 1_000);
  }

  async destroy(id: string): Promise<void> {
    const payload = this.#entries.get(id)?.payload;
    this.#entries.delete(id);
    if (payload?.uid !== undefined && this.#idsByUid.get(payload.uid) === id) {
      this.#idsByUid.delete(payload.uid);
    }
    if (payload?.grantId !== undefined) {
      const ids = this.#idsByGrant.get(payload.grantId);
      ids?.delete(id);
      if (ids?.size === 0) this.#idsByGrant.delete(payload.grantId);
    }
  }

  async revokeByGrantId(grantId: string): Promise<void> {
    for (const id of this.#idsByGrant.get(grantId) ?? []) await this.destroy(id);
  }

  #sweep(): void {
    const now = Date.now();
    for (const [id, { expiresAt }] of this.#entries) {
      if (expiresAt <= now) void this.destroy(id);
    }
  }
}
