// What only the packed package can show, in examples/existing-app after `npm test`: the types of `latchkey/browser` under both
// module resolutions of TypeScript, and that the built app starts, responds and ends.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, writeFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const app = `${root}examples/existing-app`;
const maxStartMs = 60_000;

const browserScript = `
import { ApiError, api, onSessionEnd, type Session, session, version } from 'latchkey/browser';
export const current: Promise<Session | undefined> = session();
onSessionEnd((reason) => console.log(reason satisfies string));
export const response: Promise<Response> = api('/api/profile');
export const isNewer: boolean = version > '1' || new Error() instanceof ApiError;
`;

async function run(command, args, cwd) {
  const child = spawn(command, args, { cwd, stdio: 'inherit' });
  const [code] = await once(child, 'exit');
  if (code !== 0) throw new Error(`${command} ${args.join(' ')}: exit status ${code}`);
}

async function checkTypes() {
  const folder = `${app}/node_modules/.check`;
  mkdirSync(folder, { recursive: true });
  writeFileSync(`${folder}/package.json`, '{"type":"module"}');
  writeFileSync(`${folder}/browser.ts`, browserScript);
  for (const [module, moduleResolution] of [
    ['nodenext', 'nodenext'],
    ['esnext', 'bundler'],
  ]) {
    const options = { module, moduleResolution, target: 'es2023', lib: ['es2023', 'dom'], types: [] };
    const compilerOptions = { ...options, strict: true, noEmit: true, skipLibCheck: false };
    writeFileSync(`${folder}/tsconfig.json`, JSON.stringify({ compilerOptions, files: ['browser.ts'] }));
    await run(`${app}/node_modules/.bin/tsc`, ['-p', folder], folder);
  }
}

/** Settles with the response once the server responds. */
async function waitForResponse(url, child) {
  for (const deadline = Date.now() + maxStartMs; Date.now() < deadline; await delay(100)) {
    if (child.exitCode !== null) throw new Error(`ended with exit status ${child.exitCode}`);
    const response = await fetch(url).catch(() => undefined);
    if (response) return response;
  }
  throw new Error(`no response from ${url} within ${maxStartMs} ms`);
}

async function startOnce() {
  const services = spawn('node', ['dist/demo/start-services.js'], { cwd: root, stdio: 'inherit' });
  const started = [services];
  try {
    await waitForResponse('http://localhost:3001/.well-known/openid-configuration', services);
    const server = spawn('node', ['--env-file=demo.env', 'dist/main.js'], { cwd: app, stdio: 'inherit' });
    started.push(server);
    const { status } = await waitForResponse('http://localhost:3000/', server);
    if (status !== 200) throw new Error(`GET / of examples/existing-app: ${status}`);
    const ended = once(server, 'exit');
    server.kill('SIGTERM');
    const [code] = await ended;
    if (code !== 0) throw new Error(`examples/existing-app ended with ${code} after SIGTERM`);
  } finally {
    for (const child of started) child.kill('SIGKILL');
  }
}

await checkTypes();
await startOnce();
