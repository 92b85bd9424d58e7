/** Spreads the news that a session has ended, so that what is still open for it can be closed. */
export interface SessionEnds {
  /** Everyone who listens hears that this session has ended; this instance at once. Never throws. */
  tell(id: string): void;
  /**
   * From now on `heard` is called with the id of each session that ends on any instance (more than once at times), and
   * `missed` after each time in which ends may have gone unheard. To be called once.
   */
  listen(heard: (id: string) => void, missed: () => void): void;
  close(): void;
}

/** For the one process that knows all its sessions: it misses nothing. */
export function createMemorySessionEnds(): SessionEnds {
  let tellListener = (_id: string) => {};
  return {
    tell: (id) => tellListener(id),
    listen(heard) {
      tellListener = heard;
    },
    close() {
      tellListener = () => {};
    },
  };
}
