// Writes the types of the package into dist: the two public modules, and every setting with its meaning: `npm pack`.
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { argv } from 'node:process';
import { fileURLToPath } from 'node:url';

/** `dist/embedded/settings.d.ts`. @param fields those of src/config/fields.ts */
export function settingsTypes(fields) {
  const comment = (text) => text.replaceAll('*/', '*\\/');
  const members = Object.entries(fields).flatMap(([name, { meaning, unset, isSecret }]) => [
    `  /** ${comment(meaning)} When empty: ${comment(unset)}. */`,
    `  readonly ${name}?: SettingValue | undefined;`,
    ...(isSecret
      ? [`  /** The file that contains ${name}. */`, `  readonly ${name}_FILE?: string | undefined;`]
      : []),
  ]);
  return [
    '/** As in the environment, where every value is text. */',
    'export type SettingValue = string | number | boolean | URL;',
    '',
    'export interface Settings {',
    ...members,
    '}',
    '',
  ].join('\n');
}

if (argv[1] === fileURLToPath(import.meta.url)) {
  const dist = new URL('../dist/', import.meta.url);
  const { fields } = await import(new URL('config/fields.js', dist).href);
  for (const name of ['embedded/api.d.ts', 'testing/api.d.ts']) {
    const text = readFileSync(new URL(`declarations/${name}`, dist), 'utf8');
    writeFileSync(new URL(name, dist), text.replaceAll(/(from '\.[^']*)\.ts'/g, "$1.js'"));
  }
  rmSync(new URL('declarations', dist), { recursive: true });
  writeFileSync(new URL('embedded/settings.d.ts', dist), settingsTypes(fields));
}
