import { signIn, signOut } from 'latchkey/browser';
import { type MouseEvent, useEffect, useState } from 'react';
import { Items } from './items';
import { useSession } from './use-session';

/** The path of the address bar. The server sends index.html for each of them. */
function usePath(): readonly [string, (event: MouseEvent<HTMLAnchorElement>) => void] {
  const [path, setPath] = useState(location.pathname);
  useEffect(() => {
    const update = () => setPath(location.pathname);
    addEventListener('popstate', update);
    return () => removeEventListener('popstate', update);
  }, []);
  return [
    path,
    (event) => {
      event.preventDefault();
      history.pushState(null, '', event.currentTarget.href);
      setPath(location.pathname);
    },
  ];
}

export function App() {
  const [path, open] = usePath();
  const state = useSession();
  return (
    <>
      <nav>
        <a href="/" onClick={open}>
          Home
        </a>{' '}
        <a href="/items" onClick={open}>
          Items
        </a>
      </nav>
      <main>
        <h1>{path === '/items' ? 'Items' : 'Home'}</h1>
        {state.status === 'loading' && <p>One moment…</p>}
        {state.status === 'unknown' && (
          <p role="alert">The server cannot be reached. Please reload the page.</p>
        )}
        {state.status === 'signed-out' && (
          <>
            {state.reason && <p role="alert">You have been signed out ({state.reason}).</p>}
            <button type="button" onClick={() => signIn()}>
              Sign in
            </button>
          </>
        )}
        {state.status === 'signed-in' && (
          <>
            <p>Signed in as {state.session.user.name}.</p>
            {path === '/items' && <Items />}
            <button type="button" onClick={signOut}>
              Sign out
            </button>
          </>
        )}
      </main>
    </>
  );
}
