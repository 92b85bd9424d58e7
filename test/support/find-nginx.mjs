import { findProgram } from './find-program.mjs';

/** The name of an nginx that can be executed. */
export function findNginx() {
  return findProgram({
    what: 'nginx',
    names: ['nginx'],
    versionOption: '-v',
    debianPackage: 'nginx-light',
    otherCommand: process.platform === 'darwin' ? 'brew install nginx' : 'sudo dnf install nginx',
    alternative: 'Or run tests that need no nginx: node test/run.mjs test/unit',
  });
}
