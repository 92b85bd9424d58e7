import { createHmac } from 'node:crypto';
import { deriveKeys, type KeySource } from './sealing.ts';

const tagBytes = 12;

/** Session tags: short HMACs of session ids, which name sessions on pages, in logs and on the command line. */
export interface SessionTags {
  /** The tag of the session `id`, base64url. */
  tagFor(id: string): string;
  /** True when `tag` is the tag of the session `id` with any of the secrets. */
  isTagOf(tag: string, id: string): boolean;
}

/** The first of several secrets creates tags; those of all name the session, as a page may be older than a rotation. */
export function createSessionTags(source: KeySource): SessionTags {
  const keys = deriveKeys(source, 'session_tag');
  const tagsFor = (id: string) =>
    keys.map((key) =>
      createHmac('sha256', key).update(id).digest().subarray(0, tagBytes).toString('base64url'),
    );
  return {
    tagFor: (id) => tagsFor(id)[0]!,
    isTagOf: (tag, id) => tagsFor(id).includes(tag),
  };
}
