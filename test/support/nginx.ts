import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

export interface Nginx {
  readonly origin: string;
  close(): Promise<void>;
}

/**
 * Starts nginx (`TEST_NGINX`) in front of `target`, with two connections to it that are kept open.
 * @param proxySettings the directives of the location besides `proxy_pass`
 * @param paths the path of the location, and the path by which nginx replaces it
 */
export function startNginx(
  target: string,
  proxySettings: readonly string[],
  { location = '/', replacedBy = '' } = {},
): Promise<Nginx> {
  const configure = (port: number) => `
      upstream latchkey { server ${new URL(target).host.replace('localhost', '127.0.0.1')}; keepalive 2; }
      server {
        listen 127.0.0.1:${port};
        location ${location} {
          proxy_pass http://latchkey${replacedBy};
          proxy_read_timeout 5s;
          ${proxySettings.join('\n          ')}
        }
      }`;
  return runNginx(configure, `${location}healthz`);
}

/**
 * Starts nginx (`TEST_NGINX`) with what `configure` returns for its port, in the `http` block. It has started when `path`
 * responds with 200.
 */
export async function runNginx(configure: (port: number) => string, path: string): Promise<Nginx> {
  const folder = mkdtempSync(join(tmpdir(), 'latchkey-nginx-'));
  for (const name of ['body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']) mkdirSync(join(folder, name));
  const port = await findFreePort();
  const configuration = `
    daemon off; master_process off; worker_processes 1;
    pid ${folder}/pid; error_log ${folder}/error.log;
    events {}
    http {
      access_log off;
      ${['body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
        .map((name) => `${name === 'body' ? 'client_body' : name}_temp_path ${folder}/${name};`)
        .join(' ')}
      client_max_body_size 0;
      ${configure(port)}
    }`;
  writeFileSync(join(folder, 'nginx.conf'), configuration);
  const args = ['-p', folder, '-c', join(folder, 'nginx.conf'), '-e', join(folder, 'error.log')];
  const child = spawn(process.env.TEST_NGINX || 'nginx', args, { stdio: 'ignore' });
  const closed = new Promise((done) => child.once('close', done));
  const origin = `http://127.0.0.1:${port}`;
  const isUp = () =>
    fetch(origin + path).then(
      ({ status }) => status === 200,
      () => false,
    );
  for (const deadline = Date.now() + 10_000; !(await isUp()); await delay(20))
    if (Date.now() > deadline || child.exitCode !== null) throw new Error('nginx did not start');
  return {
    origin,
    async close() {
      child.kill('SIGTERM');
      await closed;
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

function findFreePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => resolve(typeof address === 'object' && address !== null ? address.port : 0));
    });
  });
}
