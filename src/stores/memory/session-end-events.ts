import type { SessionEndEvents } from '../../tokens/session-end-events.ts';

/** For the one process that knows all its sessions: it misses nothing. */
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
