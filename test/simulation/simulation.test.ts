import { execFile } from 'node:child_process';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { buildApp, root } from '../support/build.ts';

const run = promisify(execFile);
const fixedSeeds = 3;
const newSeeds = 5;

let build: string;
beforeAll(() => {
  build = buildApp();
}, 180_000);
afterAll(() => rmSync(build, { recursive: true, force: true }));

/** The output of the simulation; with what it has found, when it fails. */
async function simulate(...args: readonly string[]): Promise<string> {
  const command = [
    ...['--import', './test/simulation/typescript.mjs', 'test/simulation/run.ts'],
    ...['--build', join(build, 'dist'), ...args],
  ];
  try {
    return (await run(process.execPath, command, { cwd: root, maxBuffer: 2 ** 26 })).stdout;
  } catch (error) {
    const { stdout, stderr } = error as { stdout: string; stderr: string };
    throw new Error(`node ${command.join(' ')}\n${stdout}\n${stderr}`);
  }
}

test('every directed schedule holds', async () => {
  expect(await simulate('--directed')).not.toContain('FAILS');
}, 180_000);

test('a directed schedule finds every mutant', async () => {
  expect(await simulate('--mutants')).not.toContain('NOT FOUND');
}, 300_000);

test(`${fixedSeeds} fixed seeds of each profile break no claim`, async () => {
  expect(await simulate('--seeds', String(fixedSeeds))).not.toContain('VIOLATION');
}, 400_000); // on a busy machine

test(`${newSeeds} new seeds of each profile break no claim`, async () => {
  const from = String(1_000_000 + Math.floor(Math.random() * 1_000_000_000));
  const output = await simulate('--seeds', String(newSeeds), '--from', from);
  process.stderr.write(`simulation: seeds ${from} and the next ${newSeeds - 1} of each profile\n`);
  expect(output).not.toContain('VIOLATION');
}, 400_000); // on a busy machine

test('the same seed gives the same run', async () => {
  const args = ['--seeds', '1', '--from', '7', '--profile', 'harsh', '--timeline'] as const;
  const withoutDuration = (output: string) => output.replace(/\(\d+ s\)/g, '');
  const first = withoutDuration(await simulate(...args));
  expect(first.split('\n').length).toBeGreaterThan(50);
  expect(withoutDuration(await simulate(...args))).toBe(first);
}, 180_000);
