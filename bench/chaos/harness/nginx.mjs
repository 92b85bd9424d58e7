import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { sendRequest } from './http.mjs';
import { freePorts } from './ports.mjs';
import { startProcess, tempFolder } from './processes.mjs';
import { waitFor } from './wait-for.mjs';

const temporaryPaths = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'];

/**
 * Starts an nginx with one worker, in the foreground, that passes every request to `servers` (of `upstream`) over kept
 * connections, as docs/deployment.md shows it. `directives` are added to its `location`.
 */
export async function startNginx(
  servers,
  { errorLog = join(tempFolder, 'nginx.log'), directives = [] } = {},
) {
  const [port] = await freePorts(1);
  const file = join(tempFolder, `nginx-${port}.conf`);
  writeFileSync(
    file,
    `
daemon off;
worker_processes 1;
pid ${tempFolder}/nginx-${port}.pid;
error_log ${errorLog} warn;
events { worker_connections 2048; }
http {
  access_log off;
  ${temporaryPaths.map((each) => `${each}_temp_path ${tempFolder}/${each};`).join('\n  ')}
  upstream latchkey {
    ${servers.map((each) => `server ${each};`).join('\n    ')}
    keepalive 32;
    keepalive_timeout 60s;
  }
  map $http_upgrade $connection_upgrade { default upgrade; '' ''; }
  server {
    listen 127.0.0.1:${port};
    client_max_body_size 20m;
    client_body_buffer_size 1m; # the worker may not be allowed to write to the temporary folder
    location / {
      proxy_pass http://latchkey;
      proxy_http_version 1.1;
      proxy_set_header Host $http_host;
      proxy_set_header Connection $connection_upgrade;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header X-Forwarded-For $remote_addr;
      proxy_set_header X-Forwarded-Proto $scheme;
      ${directives.map((each) => `${each};`).join('\n      ')}
    }
  }
}
`,
  );
  const child = startProcess('nginx', 'nginx', ['-c', file, '-p', tempFolder]);
  const isUp = async () => (await sendRequest(`http://127.0.0.1:${port}/healthz`)).status > 0;
  if (!(await waitFor(isUp, 10_000))) throw new Error('nginx did not start; is it on the PATH?');
  return { name: 'nginx', port, child };
}
