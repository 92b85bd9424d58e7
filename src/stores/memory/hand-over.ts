import { deserialize, serialize } from 'node:v8';
import type { Store } from 'express-session';
import { deriveKeys, formatVersion, type KeySource, seal, unseal } from '../../crypto/sealing.ts';

/** Makes a map of a store part of what the process hands over, under this name, and returns the map. */
export type HandOverMap = <K, V>(name: string, map: Map<K, V>) => Map<K, V>;

/** For stores whose content ends with their process. */
export const notHandedOver: HandOverMap = (_name, map) => map;

/** The content of the stores in memory, for the process that replaces this one (`latchkey dev`). */
export interface HandOver {
  /** Everything that is stored, sealed with the first SESSION_SECRET. Nothing may be stored after this. */
  release(): Promise<Buffer>;
  /**
   * Adds what another process has released.
   * @returns false if it cannot be used here: it was sealed with another SESSION_SECRET, or for another provider or client
   */
  takeOver(sealed: Buffer): Promise<boolean>;
}

interface Released {
  readonly maps: ReadonlyMap<string, ReadonlyMap<unknown, unknown>>;
  readonly sessionData: readonly (readonly [id: string, data: Parameters<Store['set']>[1]])[];
}

const purpose = 'hand_over';
/** A build with other formats cannot read what this one has sealed. */
const context = `hand-over ${formatVersion}`;

export function createHandOver(
  source: KeySource,
  sessionStore: Store,
): HandOver & { readonly map: HandOverMap } {
  const keys = deriveKeys(source, purpose);
  const maps = new Map<string, Map<unknown, unknown>>();

  return {
    map(name, map) {
      maps.set(name, map);
      return map;
    },

    async release() {
      const released: Released = { maps, sessionData: await readAll(sessionStore) };
      return seal(keys[0]!, serialize(released).toString('base64'), context);
    },

    async takeOver(sealed) {
      const text = keys.map((key) => unseal(key, sealed, context)).find((each) => each !== undefined);
      if (text === undefined) return false;
      const released: Released = deserialize(Buffer.from(text, 'base64'));
      for (const [name, map] of maps)
        for (const [key, value] of released.maps.get(name) ?? []) map.set(key, value);
      for (const [id, data] of released.sessionData)
        await new Promise<void>((resolve) => sessionStore.set(id, data, () => resolve()));
      return true;
    },
  };
}

/** The session data by session id. */
function readAll(store: Store): Promise<Released['sessionData']> {
  return new Promise((resolve, reject) => {
    if (!store.all) {
      resolve([]);
      return;
    }
    store.all((error, sessions) => {
      if (error) reject(error);
      else resolve(Object.entries(sessions ?? {}).map(([id, data]) => [id, data]));
    });
  });
}
