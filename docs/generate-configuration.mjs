// Writes docs/configuration.md and .env.example from the schema in src/config: `npm run docs`.
import { writeFileSync } from 'node:fs';
import { argv } from 'node:process';
import { fileURLToPath } from 'node:url';

/** `docs/configuration.md`. @param groups `fieldGroups` of src/config/fields.ts */
export function configurationPage(groups) {
  const sections = Object.entries(groups).map(([group, fields]) =>
    [
      `## ${group}`,
      '',
      '| variable | meaning | when empty |',
      '|---|---|---|',
      ...Object.entries(fields).map(
        ([name, { meaning, unset }]) => `| \`${name}\` | ${cell(meaning)} | ${cell(unset)} |`,
      ),
      '',
    ].join('\n'),
  );
  return [
    '# Configuration',
    '',
    '<!-- Generated from src/config by `npm run docs`. Change the texts there. -->',
    '',
    'Latchkey reads its settings from the environment and from a file `.env` in its working directory. An empty value is the',
    'same as no value. If a setting is missing or invalid, startup fails with exit code 78 and a list of all problems, each with an example.',
    '',
    'Flags and names from a list (`true`, `Lax`, `INFO`) may be in any case. A value in quotes is an error: a `.env` file may',
    'quote values, because `npm start` and docker compose remove the quotes, but `docker run --env-file` does not.',
    '',
    'Every URL must be https unless its host is this machine. `OAUTH2_ALLOW_HTTP=true` allows http on private networks.',
    '',
    '## Secrets in files',
    '',
    'Latchkey can read a secret from a file, such as a docker or Kubernetes secret. Set the variable with the suffix `_FILE` to the path',
    'of the file:',
    '',
    ...Object.values(groups).flatMap((fields) =>
      Object.entries(fields)
        .filter(([, { isSecret }]) => isSecret)
        .map(([name]) => `- \`${name}_FILE\``),
    ),
    '',
    'The file contains only the secret, on one line, as UTF-8 text. Latchkey removes line breaks at its end. Startup fails if both',
    'variables are set, or if the file cannot be read or is empty. Latchkey reads the files only at startup.',
    '',
    '## Warnings at startup',
    '',
    'If settings are valid but dangerous, Latchkey starts and logs a warning, which never contains a value:',
    '',
    '- `OAUTH2_REDIRECT_URI` is http, or `SESSION_COOKIE_SECURE` is false, and the app is not on localhost,',
    '- `OAUTH2_ALLOW_HTTP` is true,',
    '- in production, Redis has neither a password nor TLS, and its host is not on a private network.',
    '',
    'Latchkey also warns about variables that seem to be meant for it, but are not settings, and so have no effect:',
    '',
    "- every variable whose name begins with `OAUTH2_` or `SESSION_`, except those of oauth2-proxy and of desktops' session managers,",
    '- other variables whose name is similar to a setting: a word is misspelt, abbreviated or in the plural, a word is added after',
    '  the first, the first word is missing (`CLIENT_ID`), or underscores or capital letters differ. `HOST` and `PORT` are not compared,',
    '- a few names that other products use, such as `SECRET_KEY`.',
    '',
    'The variables that Kubernetes creates for services (`*_SERVICE_HOST`, `*_SERVICE_PORT`, `*_PORT_6379_TCP`, and `*_PORT` with an',
    'address such as `tcp://10.0.0.1:6379`) cause no warning. If Kubernetes sets `METRICS_PORT` or `PORT` to such an address, the',
    'setting counts as empty, with a warning.',
    '',
    ...sections,
  ].join('\n');
}

/** `.env.example`: every variable, empty, below its meaning. @param groups as above */
export function envExample(groups) {
  const sections = Object.entries(groups).map(([group, fields]) =>
    [
      '',
      `# ---- ${group} ${'-'.repeat(Math.max(0, 90 - group.length))}`,
      '',
      ...Object.entries(fields).flatMap(([name, { meaning, unset, example, isSecret }]) => [
        ...comment(meaning),
        ...comment(unset === 'required' ? 'Required.' : `When empty: ${unset}.`),
        ...comment(`Example: ${name}=${example}`),
        ...(isSecret ? comment(`Or set ${name}_FILE to the path of a file with the value.`) : []),
        `${name}=`,
        '',
      ]),
    ].join('\n'),
  );
  return [
    '# Generated from src/config by `npm run docs`.',
    '# Copy this file to .env and fill in what is marked "Required". An empty value is the same as none.',
    "# Put a value that contains $ or # between single quotes: KEY='value' (but not for `docker run --env-file`, which keeps",
    '# the quotes as part of the value).',
    ...sections,
  ].join('\n');
}

/** Text as a table cell: variables and literals in code style, `|` escaped, links to pages in docs/. */
function cell(text) {
  return text
    .replaceAll('|', '\\|')
    .replace(/docs\/([\w-]+\.md)/g, '[$1]($1)')
    .replace(/(?<![\w`[(/])((?:OAUTH2|SESSION|REDIS|API|APP|NODE|AUTH|CORS)_[A-Z_]*[A-Z])(?![\w])/g, '`$1`');
}

function comment(text) {
  const lines = [];
  let line = '#';
  for (const word of text.split(' ')) {
    if (line.length + word.length + 1 > 118) {
      lines.push(line);
      line = '#';
    }
    line += ` ${word}`;
  }
  return [...lines, line];
}

if (fileURLToPath(import.meta.url) === argv[1]) {
  const { fieldGroups } = await import('../dist/config/fields.js');
  writeFileSync(new URL('configuration.md', import.meta.url), configurationPage(fieldGroups));
  writeFileSync(new URL('../.env.example', import.meta.url), envExample(fieldGroups));
}
