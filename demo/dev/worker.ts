import { readFileSync } from 'node:fs';

// A process of Latchkey. It loads the packages, which takes most of the time of a start, and then waits for its
// environment. `start` imports Latchkey itself, so that a process runs the newest code.
interface Start {
  readonly env: Readonly<Record<string, string>>;
}

const started = new Promise<Start>((resolve) =>
  process.once('message', (message: Start) => resolve(message)),
);
process.send?.({ type: 'waiting' }); // a message that arrived before would be lost
for (const signal of ['SIGINT', 'SIGHUP'] as const) process.on(signal, ignore); // `latchkey dev` ends its processes

const isSource = import.meta.url.endsWith('.ts');
const packageFile = new URL(isSource ? '../../package.json' : '../../../package.json', import.meta.url);
const { dependencies } = JSON.parse(readFileSync(packageFile, 'utf8'));
// One that cannot be loaded fails again, with its reason, when Latchkey imports it.
for (const name of Object.keys(dependencies)) await import(name).catch(() => undefined);

const { env } = await started;
for (const name of Object.keys(process.env)) delete process.env[name];
Object.assign(process.env, env, { LATCHKEY_DEV: '1' });
await import(new URL(isSource ? '../../src/main.ts' : '../../main.js', import.meta.url).href);

function ignore(): void {}
