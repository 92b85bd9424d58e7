/**
 * In-memory storage for one provider, with one map per model. For `settings.graceSeconds` after its first use a rotated
 * refresh token is returned as unused, like providers with a "reuse interval" or "leeway" do. With `settings.revokes`
 * set to `token`, a revocation removes only that token and not its family; RFC 7009 leaves the choice to the provider.
 */
export function createMemoryAdapter(settings, isRevocation) {
  return class MemoryAdapter {
    #entries = new Map();
    #idsByUid = new Map();
    #idsByGrant = new Map();
    #model;

    constructor(model) {
      this.#model = model;
    }

    async upsert(id, payload, expiresInSeconds) {
      const expiresAt = expiresInSeconds === undefined ? Infinity : Date.now() + expiresInSeconds * 1000;
      this.#entries.set(id, { payload: structuredClone(payload), expiresAt });
      if (payload.uid !== undefined) this.#idsByUid.set(payload.uid, id);
      if (payload.grantId !== undefined) {
        const ids = this.#idsByGrant.get(payload.grantId) ?? new Set();
        this.#idsByGrant.set(payload.grantId, ids.add(id));
      }
    }

    async find(id) {
      const entry = this.#entries.get(id);
      if (entry === undefined || entry.expiresAt <= Date.now()) return undefined;
      const payload = structuredClone(entry.payload);
      const isInGracePeriod =
        this.#model === 'RefreshToken' && Date.now() - entry.consumedAt <= settings.graceSeconds * 1000;
      if (isInGracePeriod) delete payload.consumed;
      return payload;
    }

    async findByUid(uid) {
      const id = this.#idsByUid.get(uid);
      return id === undefined ? undefined : this.find(id);
    }

    async findByUserCode() {
      return undefined;
    }

    async consume(id) {
      const entry = this.#entries.get(id);
      if (entry === undefined) return;
      entry.consumedAt ??= Date.now(); // the grace period starts at the first use
      entry.payload.consumed = Math.floor(entry.consumedAt / 1000);
    }

    async destroy(id) {
      const payload = this.#entries.get(id)?.payload;
      this.#entries.delete(id);
      if (payload?.uid !== undefined) this.#idsByUid.delete(payload.uid);
      if (payload?.grantId !== undefined) this.#idsByGrant.get(payload.grantId)?.delete(id);
    }

    async revokeByGrantId(grantId) {
      if (settings.revokes === 'token' && isRevocation()) return;
      for (const id of this.#idsByGrant.get(grantId) ?? []) await this.destroy(id);
      this.#idsByGrant.delete(grantId);
    }
  };
}
