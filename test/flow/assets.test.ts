import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import express from 'express';
import request from 'supertest';
import { createAssets } from '../../src/pages/assets.ts';

const scratch = mkdtempSync(join(tmpdir(), 'latchkey-assets-'));
const folder = join(scratch, 'public');
const style = 'body { margin: 0 }\n'.repeat(100);
beforeAll(() => {
  mkdirSync(join(folder, 'fonts'), { recursive: true });
  mkdirSync(join(folder, '.git'));
  writeFileSync(join(scratch, 'secret.css'), 'from outside');
  writeFileSync(join(scratch, 'mounted.css'), style);
  symlinkSync(join(scratch, 'mounted.css'), join(folder, 'linked.css')); // as Kubernetes mounts a ConfigMap
  for (const [name, content] of [
    ['style.css', style],
    ['two words.svg', '<svg/>'],
    ['.hidden.css', style],
    ['.git/config.css', style],
    ['fonts/a.woff2', 'short'],
  ] as const)
    writeFileSync(join(folder, name), content);
});
afterAll(() => rmSync(scratch, { recursive: true }));

const start = (isCached: boolean) => express().disable('etag').use('/assets', createAssets(folder, isCached));

describe.each([true, false])('assets, cached: %s', (isCached) => {
  const get = (path: string, headers = {}) => request(start(isCached)).get(`/assets/${path}`).set(headers);

  test('a file is sent with its type, and browsers revalidate it', async () => {
    const response = await get('style.css', { 'accept-encoding': 'identity' }).expect(200, style);
    expect(response.headers).toMatchObject({
      'content-type': 'text/css; charset=utf-8',
      'content-length': String(style.length),
      'cache-control': 'no-cache',
      vary: 'Accept-Encoding',
    });
    expect(response.headers).not.toHaveProperty('content-encoding');
    const { etag = '' } = response.headers;
    const fresh = await get('style.css', { 'if-none-match': etag, 'accept-encoding': 'gzip' }).expect(
      304,
      '',
    );
    expect(fresh.headers).toMatchObject({ etag, 'cache-control': 'no-cache', vary: 'Accept-Encoding' });
  });

  test('a file is sent with gzip if the client accepts that, and if it becomes smaller', async () => {
    const response = await get('style.css', { 'accept-encoding': 'gzip, deflate, br, zstd' }).expect(
      200,
      style,
    );
    expect(response.headers['content-encoding']).toBe('gzip');
    expect(Number(response.headers['content-length'])).toBeLessThan(style.length / 2);
    for (const refused of ['gzip;q=0', 'identity, gzip;q=0.1', 'br'])
      expect((await get('style.css', { 'accept-encoding': refused })).headers).not.toHaveProperty(
        'content-encoding',
      );
    expect((await get('fonts/a.woff2', { 'accept-encoding': 'gzip' })).headers).not.toHaveProperty(
      'content-encoding',
    );
  });

  test.each([
    ['HEAD', 'style.css', 200],
    ['POST', 'style.css', 404],
    ['GET', 'fonts/a.woff2', 200],
    ['GET', 'two%20words.svg', 200],
    ['GET', 'linked.css', 200],
    ['GET', '', 404],
    ['GET', 'fonts', 404],
    ['GET', 'fonts/', 404],
    ['GET', 'other.css', 404],
    ['GET', '.hidden.css', 404],
    ['GET', '.git/config.css', 404],
    ['GET', '%2e%2e/secret.css', 404],
    ['GET', '..%2fsecret.css', 404],
    ['GET', 'fonts%2f..%2f..%2fsecret.css', 404],
    ['GET', '%ff', 404],
  ] as const)('%s %s: %i', async (method, path, status) => {
    const methods = { GET: 'get', HEAD: 'head', POST: 'post' } as const;
    const response = await request(start(isCached))[methods[method]](`/assets/${path}`);
    expect(response.status).toBe(status);
    expect(response.text ?? '').not.toContain('from outside');
    if (method === 'HEAD') expect(response.headers['content-length']).toBeDefined();
  });

  test(isCached ? 'a changed file needs a restart' : 'a changed file is sent at once', async () => {
    const path = join(folder, 'changed.css');
    writeFileSync(path, 'before');
    const app = start(isCached);
    await request(app).get('/assets/changed.css').expect(200, 'before');
    writeFileSync(path, 'after');
    await request(app)
      .get('/assets/changed.css')
      .expect(200, isCached ? 'before' : 'after');
  });
});
