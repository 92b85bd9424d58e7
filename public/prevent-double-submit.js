/** Ignores a second click on a sign-in link and a second submission of a form while the first one is under way. */
export function preventDoubleSubmit() {
  let submitted = new WeakSet();
  let isSigningIn = false;
  const reset = () => {
    submitted = new WeakSet();
    isSigningIn = false;
  };

  document.addEventListener('click', (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return; // opens another tab
    const link = event.target.closest?.('a[href]');
    if (link?.origin !== location.origin || !link.pathname.endsWith('/auth/login') || link.target) return;
    if (isSigningIn) event.preventDefault();
    else setTimeout(reset, 10_000); // the user stopped the navigation, or the network failed
    isSigningIn = true;
  });
  document.addEventListener('submit', (event) => {
    if (event.defaultPrevented) return; // one of our scripts sends this form
    if (submitted.has(event.target)) event.preventDefault();
    else setTimeout(reset, 10_000);
    submitted.add(event.target);
  });
  addEventListener('pageshow', reset);
}
