import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { sign } from 'cookie-signature';
import type { Request } from 'express';
import { MemoryStore } from 'express-session';
import { loadConfig } from '../../src/config/load.ts';
import { deriveKeys } from '../../src/crypto/sealing.ts';
import { createSessions } from '../../src/session/session.ts';
import { validEnv } from '../support/processes.ts';

test('a session id that is remembered does not keep the whole Cookie header in memory', () => {
  setFlagsFromString('--expose-gc');
  const collectGarbage: () => void = runInNewContext('gc');
  const { session } = loadConfig(validEnv);
  const sessions = createSessions(session, new MemoryStore(), Date.now);
  const [key] = deriveKeys(session, 'session_cookie');
  const count = 1_000;
  const readSession = (index: number) => {
    const value = `s:${sign(`session-${index}-${'x'.repeat(30)}`, key!)}`; // not percent-encoded
    const cookie = Buffer.from(`${session.cookie.name}=${value}; a=${'y'.repeat(14_000)}`).toString('latin1');
    return sessions.getSessionId({ headers: { cookie } } as Request);
  };
  collectGarbage();
  const before = process.memoryUsage().heapUsed;
  for (let index = 0; index < count; index += 1) expect(readSession(index)).toBeDefined();
  collectGarbage();
  expect((process.memoryUsage().heapUsed - before) / count).toBeLessThan(3_000);
  expect(readSession(0)).toBeDefined(); // the ids are still remembered
});
