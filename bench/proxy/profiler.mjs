// Profiles the process that imports this from the first SIGUSR2 to the second, and writes the profile to the file in the query:
//   node --import 'file:///.../profiler.mjs?file=/tmp/profile.json' main.js
import { writeFileSync } from 'node:fs';
import { Session } from 'node:inspector';

const session = new Session();
let isRunning = false;
session.connect();
process.on('SIGUSR2', () => {
  if (isRunning)
    session.post('Profiler.stop', (_error, { profile }) =>
      writeFileSync(new URL(import.meta.url).searchParams.get('file'), JSON.stringify(profile)),
    );
  else session.post('Profiler.enable', () => session.post('Profiler.start'));
  isRunning = !isRunning;
});
