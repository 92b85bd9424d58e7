import type { Sealer } from '../crypto/sealing.ts';
import { UnreadableRecordError } from '../tokens/token-store.ts';

/** An opened record takes about three times the size of its sealed bytes. */
const maxSealedBytes = 8 * 1024 * 1024;

/**
 * `open(key, sealed)`: the record in these bytes, if there are any. Bytes that are the same as when they were opened last are
 * not opened again; up to 8 MiB of them are remembered, and the oldest forgotten first.
 * @throws UnreadableRecordError
 */
export function createOpenedRecords<T extends object>(sealer: Sealer) {
  const opened = new Map<string, { readonly sealed: Buffer; readonly record: T }>();
  let bytes = 0;

  function forget(key: string): void {
    bytes -= opened.get(key)?.sealed.length ?? 0;
    opened.delete(key);
  }

  function remember(key: string, sealed: Buffer, record: T): void {
    forget(key);
    for (const oldest of opened.keys()) {
      if (bytes + sealed.length <= maxSealedBytes) break;
      forget(oldest);
    }
    // A copy: the bytes are a part of all that was received with them.
    opened.set(key, { sealed: Buffer.from(sealed), record });
    bytes += sealed.length;
  }

  return function open(key: string, sealed: Buffer | null): T | undefined {
    if (!sealed) {
      forget(key);
      return undefined;
    }
    const known = opened.get(key);
    if (known?.sealed.equals(sealed)) return known.record;
    const record = sealer.unseal(sealed, key) as T | undefined; // only this app can have sealed it
    if (!record) throw new UnreadableRecordError();
    remember(key, sealed, record);
    return record;
  };
}
