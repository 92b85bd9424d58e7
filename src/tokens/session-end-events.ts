import type { EndedBy } from './token-store.ts';

/** Publishes that a session has ended, so that every instance can close what is still open for it. */
export interface SessionEndEvents {
  /** Notifies the listeners on all instances that this session has ended; on this instance at once. Never throws. */
  publish(id: string, by?: EndedBy): void;
  /**
   * Calls `onEnd` with the id of each session that ends on any instance (sometimes more than once), and who has ended it
   * from elsewhere, and `onGap` after
   * each period in which events may have been missed. To be called once.
   */
  listen(onEnd: (id: string, by?: EndedBy) => void, onGap: () => void): void;
  close(): void;
}
