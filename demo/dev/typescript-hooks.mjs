import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { basename } from 'node:path';
import { fileURLToPath } from 'node:url';

// By a hash of the source, so that a process does not load the compiler for what another one has compiled.
const cache = fileURLToPath(new URL('../../node_modules/.cache/latchkey-typescript/', import.meta.url));
const options = {
  jsc: { parser: { syntax: 'typescript' }, target: 'es2023' },
  sourceMaps: 'inline',
};
const version = readFileSync(new URL('../../node_modules/@swc/core/package.json', import.meta.url));
mkdirSync(cache, { recursive: true });

export async function load(url, context, nextLoad) {
  if (!url.endsWith('.ts')) return nextLoad(url, context);
  const path = fileURLToPath(url);
  const text = readFileSync(path, 'utf8');
  const hash = createHash('sha256').update(version).update(basename(path)).update(text).digest('hex');
  return {
    format: 'module',
    shortCircuit: true,
    source: readCached(hash) ?? (await compile(path, text, hash)),
  };
}

function readCached(hash) {
  try {
    return readFileSync(`${cache}${hash}.js`, 'utf8');
  } catch {
    return undefined;
  }
}

async function compile(path, text, hash) {
  const { transform } = await import('@swc/core');
  const { code } = await transform(text, {
    ...options,
    filename: path,
    sourceFileName: basename(path),
    swcrc: false,
  });
  const temporary = `${cache}${hash}.${process.pid}`;
  writeFileSync(temporary, code);
  renameSync(temporary, `${cache}${hash}.js`); // two processes may compile the same file
  return code;
}
