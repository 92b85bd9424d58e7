import { type Html, html } from './html.ts';
import type { Texts } from './texts.ts';

const style = html`<style>
  :root { color-scheme: light dark; --ground: #eef3ee; --card: #fff; --ink: #1c2a20; --soft: #5b6b60; --line: #d3ddd5; --leaf: #1f6f43; --onleaf: #fff; --alarm: #a1261d; }
  @media (prefers-color-scheme: dark) {
    :root { --ground: #121a15; --card: #1b2620; --ink: #e6efe8; --soft: #9db0a3; --line: #33433a; --leaf: #7fcf9f; --onleaf: #0d1a12; --alarm: #ff9c92; }
  }
  * { box-sizing: border-box; }
  body { margin: 0; min-height: 100vh; display: grid; place-items: center; padding: 1rem; background: var(--ground); color: var(--ink); font: 1rem/1.5 system-ui, sans-serif; }
  main { width: 100%; max-width: 26rem; padding: 2rem; background: var(--card); border: 1px solid var(--line); border-radius: .75rem; }
  h1 { margin: 1rem 0 1rem; font-size: 1.5rem; line-height: 1.25; }
  .badge { margin: 0; color: var(--soft); font-size: .875rem; }
  .badge strong { color: var(--leaf); }
  .hint { color: var(--soft); font-size: .875rem; }
  .alarm { color: var(--alarm); font-weight: 600; }
  label { display: block; margin-top: 1rem; font-weight: 600; }
  input[type=text], input[type=password] { width: 100%; margin-top: .25rem; padding: .6rem .75rem; border: 1px solid var(--line); border-radius: .4rem; background: var(--ground); color: inherit; font: inherit; }
  ul { margin: 0 0 1rem; padding: 0; list-style: none; }
  li { display: flex; flex-wrap: wrap; gap: 0 .5rem; align-items: baseline; padding: .4rem 0; border-bottom: 1px solid var(--line); }
  li label { display: flex; flex: 1; gap: .5rem; margin: 0; font-weight: 400; cursor: pointer; }
  li:not(:has(label))::before { content: "\\2713"; width: 1.1rem; color: var(--leaf); text-align: center; }
  input[type=checkbox] { width: 1.1rem; height: 1.1rem; margin: .2rem 0 0; accent-color: var(--leaf); }
  .actions { display: flex; gap: .75rem; margin-top: 1.5rem; }
  button { flex: 1; padding: .65rem 1rem; border: 1px solid var(--leaf); border-radius: .4rem; background: none; color: var(--leaf); font: inherit; font-weight: 600; cursor: pointer; }
  button.first { background: var(--leaf); color: var(--onleaf); }
  :focus-visible { outline: 3px solid var(--leaf); outline-offset: 2px; }
</style>`;

/** A complete HTML page, clearly labelled as one of the demo provider. */
export function renderPage(texts: Texts, title: string, body: Html): string {
  return html`<!doctype html>
<html lang="${texts.lang}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${title} - Demo ID</title>
<link rel="icon" href="data:,">
${style}
</head>
<body>
<main>
<p class="badge"><strong>Demo ID</strong>, ${texts.badge}</p>
<h1>${title}</h1>
${body}
</main>
</body>
</html>
`.text;
}
