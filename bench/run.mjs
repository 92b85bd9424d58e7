// npm run bench -- NAME [options]: runs bench/NAME/run.mjs with these options.
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const [name, ...options] = process.argv.slice(2);
const programOf = (each) => fileURLToPath(new URL(`${each}/run.mjs`, import.meta.url));
const names = readdirSync(new URL('.', import.meta.url)).filter((each) => existsSync(programOf(each)));
if (!names.includes(name)) {
  console.error(`npm run bench -- NAME [options], where NAME is one of: ${names.join(', ')}`);
  process.exit(2);
}
process.exit(spawnSync(process.execPath, [programOf(name), ...options], { stdio: 'inherit' }).status ?? 1);
