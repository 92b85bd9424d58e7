/** Spreads the news that a session has ended, so that what is still open for it can be closed. */
export interface SessionEndEvents {
  /** Everyone who listens hears that this session has ended; this instance at once. Never throws. */
  publish(id: string): void;
  /**
   * From now on `onEnd` is called with the id of each session that ends on any instance (more than once at times), and
   * `onGap` after each time in which ends may have gone unheard. To be called once.
   */
  listen(onEnd: (id: string) => void, onGap: () => void): void;
  close(): void;
}
