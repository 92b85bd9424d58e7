import type { SessionEndEvents } from '../../tokens/session-end-events.ts';

/** Session-end events within a single process, which never misses one. */
export function createMemorySessionEndEvents(): SessionEndEvents {
  let notifyListener = (_id: string) => {};
  return {
    publish: (id) => notifyListener(id),
    listen(onEnd) {
      notifyListener = onEnd;
    },
    close() {
      notifyListener = () => {};
    },
  };
}
