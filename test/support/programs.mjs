import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';

/**
 * The first of `names` that runs here. When none does, root on Debian gets `debianPackage`; everybody else, and
 * everybody whom apt-get fails, is told what to do, and the process ends.
 */
export function findProgram({ what, names, debianPackage, elsewhere, instead }) {
  const known = names.find(runs);
  if (known !== undefined) return known;
  const isDebian = existsSync('/etc/debian_version');
  if (isDebian && process.getuid?.() === 0) {
    console.error(
      `The tests need ${what} and there is none: installing the Debian package ${debianPackage}.`,
    );
    updatePackageLists();
    if (aptGet('install', '-y', '--no-install-recommends', debianPackage)) return names.find(runs);
    return giveUp(`apt-get could not install ${debianPackage}.`, instead);
  }
  const command = isDebian ? `sudo apt-get install ${debianPackage}` : elsewhere;
  return giveUp(
    `The tests need ${what}: ${names.join(' or ')} on the PATH. Install it with: ${command}`,
    instead,
  );
}

/** Ends the process with a sentence for whoever started it, and another way to have what is needed. */
export function giveUp(sentence, instead) {
  console.error(`${sentence}\n(${instead})`);
  process.exit(1);
}

function runs(name) {
  return spawnSync(name, ['--version']).status === 0;
}

let isUpdated = false;

function updatePackageLists() {
  if (!isUpdated) aptGet('update');
  isUpdated = true;
}

function aptGet(...args) {
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  return spawnSync('apt-get', ['-qq', ...args], { stdio: ['ignore', 'ignore', 'inherit'], env }).status === 0;
}
