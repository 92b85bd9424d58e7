import Sequencer from '@jest/test-sequencer';

const slowFolders = /[/\\](simulation|browser)[/\\]/;

/**
 * Runs the simulation and the browser tests first: their files are small, so jest would begin the slowest of them last, and
 * one worker would wait for the other.
 */
export default class SlowestFirst extends Sequencer {
  sort(tests) {
    const isSlow = ({ path }) => slowFolders.test(path);
    const sorted = super.sort(tests);
    return [...sorted.filter(isSlow), ...sorted.filter((each) => !isSlow(each))];
  }
}
