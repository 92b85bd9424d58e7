// oidc-provider warns while it is imported that it does not support a Node.js older than 22. What the demo needs of it
// runs on 20.19, so that one line, and nothing else, is left out.
const { warn } = console;
console.warn = (...words: readonly unknown[]) => {
  if (!String(words[0]).includes('oidc-provider WARNING: Unsupported runtime')) warn(...words);
};
const library = await import('oidc-provider').finally(() => {
  console.warn = warn;
});

export const { Provider, interactionPolicy } = library;
