import { spawnSync } from 'node:child_process';
import { findProgram } from './programs.mjs';

/** The path of a Chromium: `TEST_CHROMIUM`, or one on the PATH, or one that was just installed. */
export function findChromium() {
  if (process.env.TEST_CHROMIUM) return process.env.TEST_CHROMIUM;
  const name = findProgram({
    what: 'Chromium',
    names: ['chromium', 'chromium-browser', 'google-chrome'],
    debianPackage: 'chromium',
    elsewhere: process.platform === 'darwin' ? 'brew install --cask chromium' : 'sudo dnf install chromium',
    instead: 'TEST_CHROMIUM=/path/to/chrome uses another; node test/run.mjs test/flow needs none.',
  });
  return spawnSync('which', [name], { encoding: 'utf8' }).stdout.trim(); // Playwright wants a path
}
