import { execFile } from 'node:child_process';
import { copyFileSync, cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const manifest = fileURLToPath(new URL('../../package.json', import.meta.url));
const lockFile = fileURLToPath(new URL('../../package-lock.json', import.meta.url));
const folder = fileURLToPath(new URL('../../../node_modules/.cache/latchkey-bench', import.meta.url));
const installedLock = join(folder, 'installed-lock.json');
const maxInstallMs = 120_000;

/** The versions of the packages in bench/package.json, by name. */
export const packageVersions = JSON.parse(readFileSync(manifest, 'utf8')).devDependencies;

/** Installs the packages of bench/package-lock.json into a cache folder unless they are there; rejects when npm fails. */
export async function installPackages() {
  mkdirSync(folder, { recursive: true });
  const wanted = readFileSync(lockFile, 'utf8');
  if (readIfExists(installedLock) === wanted) return;
  copyFileSync(manifest, join(folder, 'package.json'));
  copyFileSync(lockFile, join(folder, 'package-lock.json'));
  const args = [
    'ci',
    '--no-audit',
    '--no-fund',
    '--fetch-retries=1',
    '--fetch-retry-mintimeout=1000',
    '--prefix',
    folder,
  ];
  try {
    await promisify(execFile)('npm', args, { cwd: folder, timeout: maxInstallMs });
  } catch ({ stderr, message }) {
    const reason = stderr?.split('\n').find((line) => /^npm err/i.test(line));
    throw new Error(`npm cannot install the packages of bench/package.json: ${reason ?? message}`);
  }
  writeFileSync(installedLock, wanted);
}

/** Copies a program, or a folder of programs, to where it can import the installed packages; returns the path of the copy. */
export function copyProgram(url) {
  const source = fileURLToPath(url);
  const copy = join(folder, basename(source));
  cpSync(source, copy, { recursive: true });
  return copy;
}

function readIfExists(file) {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return undefined;
  }
}
