// oidc-provider prints a warning on import when Node.js is older than 22. The parts the demo uses also work on 20.19, so
// this one warning is suppressed, and no other.
const { warn } = console;
console.warn = (...args: readonly unknown[]) => {
  if (!String(args[0]).includes('oidc-provider WARNING: Unsupported runtime')) warn(...args);
};
const library = await import('oidc-provider').finally(() => {
  console.warn = warn;
});

export const { Provider, interactionPolicy } = library;
