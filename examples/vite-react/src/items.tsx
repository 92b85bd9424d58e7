import { ApiError, api, signIn } from 'latchkey/browser';
import { useEffect, useState } from 'react';

interface Item {
  readonly id: string;
  readonly title: string;
}

async function fetchItems(): Promise<readonly Item[]> {
  return (await (await api('/api/data')).json()).items;
}

/** What the user sees of a failed call. */
const toShown = (error: unknown) => (error instanceof ApiError ? error : 'The network is unavailable.');

/** The items of the API, and a button that adds one, which may need another permission of the user. */
export function Items() {
  const [items, setItems] = useState<readonly Item[]>([]);
  const [error, setError] = useState<ApiError | string>();

  async function add() {
    setError(undefined);
    const headers = { 'content-type': 'application/json' };
    try {
      await api('/api/data', { method: 'POST', headers, body: JSON.stringify({ title: 'Water the roses' }) });
      setItems(await fetchItems());
    } catch (thrown) {
      setError(toShown(thrown));
    }
  }

  useEffect(() => {
    fetchItems().then(setItems, (thrown) => setError(toShown(thrown)));
  }, []);

  return (
    <section>
      <ul>
        {items.map(({ id, title }) => (
          <li key={id}>{title}</li>
        ))}
      </ul>
      <button type="button" onClick={add}>
        Add an item
      </button>
      {error && <ErrorMessage error={error} />}
    </section>
  );
}

function ErrorMessage({ error }: { readonly error: ApiError | string }) {
  if (typeof error === 'string') return <p role="alert">{error}</p>;
  return (
    <p role="alert">
      {error.message}{' '}
      {error.loginUrl && (
        <button type="button" onClick={() => signIn(error)}>
          {error.scope ? `Grant ${error.scope}` : 'Sign in'}
        </button>
      )}
      {error.requestAgainUrl && <a href={error.requestAgainUrl}>Ask for it again</a>}
    </p>
  );
}
