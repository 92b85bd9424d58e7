import { randomBytes } from 'node:crypto';
import type { CookieOptions, Request, Response } from 'express';
import { loadConfig } from '../../src/config/load.ts';
import { deriveKeys, formatVersion, seal } from '../../src/crypto/sealing.ts';
import { createFlashCookie, type FlashMessage } from '../../src/session/flash.ts';
import { validEnv } from '../support/processes.ts';

const [old, fresh] = [randomBytes(32).toString('hex'), randomBytes(32).toString('hex')];
const shown: FlashMessage = { key: 'signed_in' };
let time: number;
beforeEach(() => {
  time = 1_800_000_000_000;
});

function flashOf(secrets = old) {
  const { session } = loadConfig({ ...validEnv, SESSION_SECRET: secrets });
  const flash = createFlashCookie(session, () => time);
  const read = (value: string) =>
    flash.read({ headers: { cookie: `${session.cookie.flashName}=${value}` } } as Request)?.messages;
  function set(...messages: readonly FlashMessage[]) {
    let sent: { readonly value: string; readonly options: CookieOptions } | undefined;
    const cookie = (_name: string, value: string, options: CookieOptions) => {
      sent = { value, options };
    };
    flash.set({ cookie } as unknown as Response, { messages, userTag: undefined });
    return sent!;
  }
  return { session, read, set };
}

test.each([
  [shown, 60_000],
  [{ key: 'signed_out' } as const, 600_000],
])('the cookie with %j and its content end at the same time', (message, lifetimeMs) => {
  const { read, set } = flashOf();
  const { value, options } = set(message);
  expect(options).toMatchObject({ httpOnly: true, sameSite: 'lax', path: '/', maxAge: lifetimeMs });
  time += lifetimeMs - 1;
  expect(read(value)).toEqual([message]);
  time += 1;
  expect(read(value)).toBeUndefined();
});

test('while the secret is rotated, every instance can read a message', () => {
  const { value } = flashOf(`${fresh},${old}`).set(shown);
  expect(flashOf(`${old},${fresh}`).read(value)).toEqual([shown]);
  expect(flashOf(fresh).read(value)).toEqual([shown]);
  expect(flashOf(old).read(value)).toBeUndefined();
});

test('a message of another format is ignored', () => {
  const { session, read } = flashOf();
  const write = (v: number) =>
    seal(
      deriveKeys(session, 'flash')[0]!,
      JSON.stringify({ messages: [shown], v, endsAt: time + 1 }),
      'flash',
    );
  expect(read(write(formatVersion).toString('base64url'))).toEqual([shown]);
  expect(read(write(formatVersion + 1).toString('base64url'))).toBeUndefined();
});

test('a message about very many permissions does not become a cookie that a browser rejects', () => {
  const { read, set } = flashOf();
  const scopes = Array.from({ length: 300 }, (_, index) => `https://api.example/permission/${index}`);
  const { value } = set({ key: 'granted', scopes });
  expect(value.length).toBeLessThan(3_500);
  expect(read(value)).toEqual([{ key: 'granted', scopes: scopes.slice(0, 20) }]);
});
