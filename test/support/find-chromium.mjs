import { spawnSync } from 'node:child_process';
import { findProgram } from './find-program.mjs';

/**
 * The path of a Chromium: from `TEST_CHROMIUM`, found on the PATH, or installed just now. The headless shell comes first: it
 * does the same for the tests with about three quarters of the CPU time.
 */
export function findChromium() {
  if (process.env.TEST_CHROMIUM) return process.env.TEST_CHROMIUM;
  const name = findProgram({
    what: 'Chromium',
    names: ['chromium-headless-shell', 'chromium', 'chromium-browser', 'google-chrome'],
    debianPackage: 'chromium',
    otherCommand:
      process.platform === 'darwin' ? 'brew install --cask chromium' : 'sudo dnf install chromium',
    alternative:
      'Or set TEST_CHROMIUM=/path/to/chrome, or run tests that need no browser: node test/run.mjs test/flow',
  });
  return spawnSync('which', [name], { encoding: 'utf8' }).stdout.trim(); // Playwright needs a path
}
