import { findProgram } from './find-program.mjs';

/** The name of a promtool (of Prometheus) that can be executed. */
export function findPromtool() {
  return findProgram({
    what: 'promtool',
    names: ['promtool'],
    debianPackage: 'prometheus',
    otherCommand:
      process.platform === 'darwin' ? 'brew install prometheus' : 'sudo dnf install golang-github-prometheus',
    alternative: 'Or run tests that need no promtool: node test/run.mjs test/unit',
  });
}
