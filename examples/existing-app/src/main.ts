import { randomBytes } from 'node:crypto';
import { createLatchkey } from 'latchkey';
import { createApp } from './app.ts';
import { startVisitorService } from './visitors.ts';

const { PORT = '3000', OAUTH2_API_BASE_URL = '' } = process.env;

const latchkey = createLatchkey(); // the settings of the environment
const visitors = await startVisitorService({ port: 3003, apiUrl: OAUTH2_API_BASE_URL });
const server = createApp(latchkey, randomBytes(32).toString('hex')).listen(Number(PORT));
latchkey.attach(server); // the WebSocket of api-routes.json
process.once('SIGTERM', async () => {
  server.close();
  visitors.close();
  await latchkey.close();
});
await latchkey.ready();
console.log(`http://localhost:${PORT}`);
