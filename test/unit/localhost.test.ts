import type { LookupAddress } from 'node:dns';
import type { LookupFunction } from 'node:net';
import { lookupLocalhost } from '../../src/proxy/upstream/localhost.ts';

const find = (name: string, options: Parameters<LookupFunction>[1]) =>
  new Promise<readonly string[]>((resolve, reject) => {
    lookupLocalhost(name, options, (error, found: string | LookupAddress[]) => {
      if (error) reject(error);
      else resolve([found].flat().map((each) => (typeof each === 'string' ? each : each.address)));
    });
  });

test.each(['localhost', 'LOCALHOST', 'localhost.', 'app.localhost'])(
  '%s has both loopback addresses, whatever the system knows',
  async (name) => {
    expect(new Set(await find(name, { all: true }))).toEqual(new Set(['127.0.0.1', '::1']));
    expect(await find(name, { all: true, family: 6 })).toEqual(['::1']);
    expect(await find(name, { family: 4 })).toEqual(['127.0.0.1']);
    expect((await find(name, {})).length).toBe(1);
  },
);

test('other names are those of the system', async () => {
  expect(await find('127.0.0.2', { all: true })).toEqual(['127.0.0.2']);
  await expect(find('localhost.invalid', { all: true })).rejects.toThrow();
});
