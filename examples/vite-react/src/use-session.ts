import { onSessionEnd, type Session, type SessionEndReason, session } from 'latchkey/browser';
import { useEffect, useState } from 'react';

export type SessionState =
  | { readonly status: 'loading' }
  | { readonly status: 'unknown'; readonly error: unknown }
  | { readonly status: 'signed-in'; readonly session: Session }
  | { readonly status: 'signed-out'; readonly reason?: SessionEndReason };

/** Who is signed in. Components render again only when that changes. */
export function useSession(): SessionState {
  const [state, setState] = useState<SessionState>({ status: 'loading' });
  useEffect(() => {
    let isMounted = true;
    const set = (next: SessionState) => isMounted && setState(next);
    const cancel = onSessionEnd((reason) => set({ status: 'signed-out', reason }));
    session().then(
      (found) => set(found ? { status: 'signed-in', session: found } : { status: 'signed-out' }),
      (error) => set({ status: 'unknown', error }),
    );
    return () => {
      isMounted = false;
      cancel();
    };
  }, []);
  return state;
}
