interface Home {
  /** Who is signed in. */
  readonly name: string | undefined;
  readonly pageSize: number;
}

export function renderHome({ name, pageSize }: Home): string {
  const account =
    name === undefined
      ? '<p><a href="/auth/login?return_to=/items">Sign in</a></p>'
      : `<p>Hello ${escapeHtml(name)}. <a href="/items">Your items</a> · <a href="/profile">Your account</a></p>
         <form method="post" action="/auth/logout"><button>Sign out</button></form>`;
  return renderPage(
    'Items',
    `${account}
     <form method="post" action="/page-size">
       <label>Items per page <input name="size" type="number" min="1" max="100" value="${pageSize}"></label>
       <button>Save</button>
     </form>`,
  );
}

export function renderItems(items: readonly { readonly title: string }[]): string {
  return renderPage(
    'Your items',
    `<ul>${items.map(({ title }) => `<li>${escapeHtml(title)}</li>`).join('')}</ul>
     <form id="add"><label>New item <input name="title" required></label> <button>Add</button></form>
     <p id="message" role="alert"></p>
     <p>On this page now: <span id="visitors" role="status"></span></p>
     <p><a href="/">Back</a></p>
     <script type="module">
       const find = (id) => document.getElementById(id);
       find('add').addEventListener('submit', async (event) => {
         event.preventDefault();
         const body = JSON.stringify(Object.fromEntries(new FormData(event.target)));
         const headers = { 'Content-Type': 'application/json' };
         const response = await fetch('/items', { method: 'POST', headers, body });
         if (response.ok || response.status === 401) location.reload(); // a page that requires the login
         else find('message').textContent = 'The item was not added. Please try again.';
       });
       const visitors = new WebSocket('/api/visitors');
       visitors.onmessage = ({ data }) => {
         find('visitors').textContent = JSON.parse(data).join(', ');
       };
       visitors.onclose = () => {
         find('visitors').textContent = 'unknown, as the connection has ended';
       };
     </script>`,
  );
}

function renderPage(title: string, content: string): string {
  return `<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width">
    <title>${title}</title>
  </head>
  <body>
    <h1>${title}</h1>
    ${content}
  </body>
</html>
`;
}

function escapeHtml(text: string): string {
  return text.replace(/[&<>"]/g, (character) => `&#${character.charCodeAt(0)};`);
}
