import { appendFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInstances, type Instances } from '../../demo/dev/instances.ts';
import { waitUntil } from '../hostile/support/raw-http.ts';

/** A process that writes down what it does, and does the next step when a file of that name exists. */
const program = `import { appendFileSync, existsSync } from 'node:fs';
const note = (text) => appendFileSync('FOLDER/log', text + '\\n');
const step = async (name) => { while (!existsSync('FOLDER/' + name)) await new Promise((resolve) => setTimeout(resolve, 10)); };
let env;
process.on('message', async ({ type, ...message }) => {
  if (type === 'start') {
    env = message.env;
    process.send({ type: 'listening' });
    note(env.NAME + ' listens');
    if (env.EXITS === 'yes') { await step(env.NAME + ' exits'); process.exit(1); }
  } else if (type === 'take-over') {
    note(env.NAME + ' has ' + message.sealed);
    if (env.HANGS === 'yes') for (;;);
    process.send({ type: 'serving' });
  } else {
    note(env.NAME + ' is told to release');
    await step(env.NAME + ' releases');
    process.send({ type: 'released', sealed: 'sessions of ' + env.NAME }, () => process.exit());
  }
});
process.send({ type: 'waiting' });
`;

let folder: string;
let instances: Instances;
const reports: string[] = [];
beforeEach(() => {
  reports.length = 0;
  folder = mkdtempSync(join(tmpdir(), 'latchkey-instances-'));
  appendFileSync(join(folder, 'log'), '');
  const script = join(folder, 'program.mjs');
  writeFileSync(script, program.replaceAll('FOLDER', folder));
  const note = (text: string) => appendFileSync(join(folder, 'log'), `${text}\n`);
  instances = createInstances({
    script,
    startTimeoutMs: 500,
    onListening: () => {},
    onServing: () => note('serving'),
    onFailed: () => note('failed'),
    onCrashed: () => note('crashed'),
    report: (message) => reports.push(message),
  });
});
afterEach(async () => {
  await instances.stop();
  rmSync(folder, { recursive: true, force: true });
});

const log = () => readFileSync(join(folder, 'log'), 'utf8').trim().split('\n');
const waitFor = (line: string, times = 1) =>
  waitUntil(() => log().filter((each) => each === line).length >= times);
const letGo = (step: string) => writeFileSync(join(folder, step), '');

test('the sessions survive a process that exits while the one before it releases them', async () => {
  instances.start({ NAME: 'A' });
  await waitFor('serving');
  instances.start({ NAME: 'B', EXITS: 'yes' });
  await waitFor('A is told to release');
  letGo('B exits');
  await waitFor('failed');
  instances.start({ NAME: 'C' });
  await waitFor('C listens');
  letGo('A releases');
  await waitFor('serving', 2);
  expect(log()).toContain('C has sessions of A');
});

test('a process that hangs when it has the sessions is ended, and the next one gets them', async () => {
  letGo('A releases');
  instances.start({ NAME: 'A' });
  await waitFor('serving');
  instances.start({ NAME: 'B', HANGS: 'yes' });
  await waitFor('failed');
  expect(reports).toEqual(['the new process does not respond, so it is ended']);
  instances.start({ NAME: 'C' });
  await waitFor('serving', 2);
  expect(log().slice(-2)).toEqual(['C has sessions of A', 'serving']);
});
