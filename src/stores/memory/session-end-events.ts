import type { SessionEndEvents } from '../../tokens/session-end-events.ts';
import type { EndedBy } from '../../tokens/token-store.ts';

/** Session-end events within a single process, which never misses one. */
export function createMemorySessionEndEvents(): SessionEndEvents {
  let notifyListener = (_id: string, _by?: EndedBy) => {};
  return {
    publish: (id, by) => notifyListener(id, by),
    listen(onEnd) {
      notifyListener = onEnd;
    },
    close() {
      notifyListener = () => {};
    },
  };
}
