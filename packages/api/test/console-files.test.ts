// The console's files over the listener for browsers.

import { mkdir, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { tempFolder } from '@latchkey/test-support/fixtures';
import { describe, expect, it } from 'vitest';
import { readConsoleFiles } from '../src/browser/console-files.js';
import { BrowserApi, FROM_PAGE } from './browser-api.js';
import { ask } from './local-api.js';

const INDEX = '<!doctype html><title>Latchkey</title>';
const SCRIPT = `console.log(${'1 + '.repeat(200)}1);`;

async function consoleFolder(): Promise<string> {
  const folder = await tempFolder();
  await mkdir(join(folder, 'assets'));
  await writeFile(join(folder, 'index.html'), INDEX);
  await writeFile(join(folder, 'assets', 'main-1a2b3c.js'), SCRIPT);
  await writeFile(join(folder, 'notes.md'), 'not served');
  await writeFile(join(folder, '.env'), 'not served');
  await symlink('/etc/passwd', join(folder, 'passwd.txt'));
  return folder;
}

describe('the console', () => {
  it('is served without a session, under a policy that lets in its own scripts only', async () => {
    const api = await BrowserApi.start(await consoleFolder());
    for (const path of ['/', '/nodes', '/sign-in', '/orders/new?count=40', '/index.html']) {
      const { status, headers, text } = await api.fetch(path);
      expect([path, status, text]).toEqual([path, 200, INDEX]);
      expect(headers).toMatchObject({
        'content-type': 'text/html; charset=utf-8',
        'cache-control': 'no-cache',
        'content-security-policy':
          "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; connect-src 'self'; " +
          "manifest-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
        'cross-origin-opener-policy': 'same-origin',
        'cross-origin-resource-policy': 'same-origin',
        'permissions-policy': 'camera=(self), geolocation=(), microphone=()',
        'referrer-policy': 'no-referrer',
        'x-content-type-options': 'nosniff',
      });
    }
    const script = await api.fetch('/assets/main-1a2b3c.js');
    expect([script.text, script.headers['cache-control'], script.headers['content-type']]).toEqual([
      SCRIPT,
      'public, max-age=31536000, immutable',
      'text/javascript; charset=utf-8',
    ]);
  });

  it('has no other files, whatever a path asks for', async () => {
    const api = await BrowserApi.start(await consoleFolder());
    for (const path of [
      '/notes.md',
      '/.env',
      '/passwd.txt',
      '/assets/../notes.md',
      '/assets/%2e%2e/notes.md',
      '/..%2fnotes.md',
      '/assets/main-1a2b3c.js/x.js',
      '//index.html',
      '/v1',
    ])
      expect([path, (await api.fetch(path)).status]).toEqual([path, 404]);
    for (const path of ['/v1/', '/v1/nowhere', '/v1/nodes/../../index.html'])
      expect([path, (await api.fetch(path)).status]).toEqual([path, 401]);
    const session = await api.signedIn('ada', 'viewer');
    expect((await session.get('/v1/nowhere')).status).toBe(404);
  });

  it('comes compressed where the browser takes that, and not at all where it has the file', async () => {
    const api = await BrowserApi.start(await consoleFolder());
    const path = '/assets/main-1a2b3c.js';
    const { headers } = await api.fetch(path);
    expect([headers['content-encoding'], headers.vary]).toEqual([undefined, 'accept-encoding']);
    const same = await api.fetch(path, undefined, { 'if-none-match': String(headers.etag) });
    expect([same.status, same.text]).toEqual([304, '']);
    const target = { protocol: 'http:', host: '127.0.0.1', port: api.port };
    const { headers: compressed, octets } = await ask(target, path, { headers: { ...FROM_PAGE, 'accept-encoding': 'br, gzip' } });
    expect([compressed['content-encoding'], gunzipSync(octets).toString()]).toEqual(['gzip', SCRIPT]);
    const head = await api.send(path, { method: 'HEAD', headers: FROM_PAGE });
    expect([head.status, head.headers['content-length'], head.text]).toEqual([200, String(SCRIPT.length), '']);
  });

  it('is opened by a link elsewhere, and embedded nowhere', async () => {
    const api = await BrowserApi.start(await consoleFolder());
    const statusOf = async (site: string, mode: string, dest: string): Promise<number> =>
      (
        await api.send('/nodes', {
          headers: { host: 'localhost:8080', 'sec-fetch-site': site, 'sec-fetch-mode': mode, 'sec-fetch-dest': dest },
        })
      ).status;
    expect(await statusOf('cross-site', 'navigate', 'document')).toBe(200);
    expect(await statusOf('none', 'navigate', 'document')).toBe(200);
    for (const dest of ['iframe', 'object', 'embed', 'script'])
      expect([dest, await statusOf('cross-site', dest === 'script' ? 'no-cors' : 'navigate', dest)]).toEqual([dest, 403]);
  });
});

describe('a folder', () => {
  it('without index.html is no console, nor is one with more than 512 files, nor one that does not exist', async () => {
    const empty = await tempFolder();
    await expect(readConsoleFiles(empty)).rejects.toThrow(`${empty} has no console: there is no index.html`);
    await expect(readConsoleFiles(join(empty, 'none'))).rejects.toMatchObject({ name: 'Failure' });
    const large = await consoleFolder();
    await Promise.all(Array.from({ length: 511 }, (_, i) => writeFile(join(large, `${i}.txt`), '')));
    await expect(readConsoleFiles(large)).rejects.toThrow('more than 512 files');
  });
});
