/** Nothing that leaves the page is begun twice: neither a login by a double click, nor a form. */
export function beginOnce() {
  let leaving = new WeakSet();
  const again = () => {
    leaving = new WeakSet();
    isSigningIn = false;
  };
  let isSigningIn = false;

  document.addEventListener('click', (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return; // into another tab
    const link = event.target.closest?.('a[href]');
    if (link?.origin !== location.origin || link.pathname !== '/auth/login') return;
    if (isSigningIn) event.preventDefault();
    else setTimeout(again, 10_000); // it was stopped, or the network was
    isSigningIn = true;
  });
  document.addEventListener('submit', (event) => {
    if (event.defaultPrevented) return; // a script of ours sends it
    if (leaving.has(event.target)) event.preventDefault();
    else setTimeout(again, 10_000);
    leaving.add(event.target);
  });
  addEventListener('pageshow', again);
}
