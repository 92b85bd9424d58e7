import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';

/**
 * The first of `names` that can be executed. If there is none, root on Debian gets `debianPackage` installed; for other
 * users, and when apt-get fails, the process exits with a message that says what to do.
 */
export function findProgram({
  what,
  names,
  versionOption = '--version',
  debianPackage,
  otherCommand,
  alternative,
}) {
  const canRun = (name) => spawnSync(name, [versionOption]).status === 0;
  const found = names.find(canRun);
  if (found !== undefined) return found;
  const isDebian = existsSync('/etc/debian_version');
  if (isDebian && process.getuid?.() === 0) {
    console.error(
      `The tests need ${what}, but none was found: installing the Debian package ${debianPackage}.`,
    );
    updatePackageLists();
    if (aptGet('install', '-y', '--no-install-recommends', debianPackage)) return names.find(canRun);
    return exitWithMessage(`apt-get could not install ${debianPackage}.`, alternative);
  }
  const command = isDebian ? `sudo apt-get install ${debianPackage}` : otherCommand;
  return exitWithMessage(
    `The tests need ${what}, but neither of these was found on the PATH: ${names.join(', ')}. Install it with: ${command}`,
    alternative,
  );
}

/** Prints the problem and an alternative to the suggested solution, and exits with status 1. */
export function exitWithMessage(problem, alternative) {
  console.error(`${problem}\n${alternative}`);
  process.exit(1);
}

let hasUpdatedLists = false;

function updatePackageLists() {
  if (!hasUpdatedLists) aptGet('update');
  hasUpdatedLists = true;
}

function aptGet(...args) {
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  return spawnSync('apt-get', ['-qq', ...args], { stdio: ['ignore', 'ignore', 'inherit'], env }).status === 0;
}
