// Proves that AES with small tables is AES: key schedules and blocks in both directions, against Node.js's own.

import { cpSync, mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { createCipheriv, randomBytes } from 'node:crypto';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, describe, expect, it } from 'vitest';
import { changed } from '../src/changes.js';
import { ROOT } from '../src/product.js';

const home = realpathSync(join(ROOT, 'packages/protocol/node_modules', '@noble', 'ciphers'));
const aes = join(home, 'aes.js');
const folder = mkdtempSync(join(tmpdir(), 'latchkey-aes-'));
afterAll(() => rmSync(folder, { recursive: true }));

interface Aes {
  readonly unsafe: {
    expandKeyLE(key: Uint8Array): Uint32Array;
    expandKeyDecLE(key: Uint8Array): Uint32Array;
    encryptBlock(schedule: Uint32Array, block: Uint8Array): Uint8Array;
    decryptBlock(schedule: Uint32Array, block: Uint8Array): Uint8Array;
  };
}

async function changedAes(): Promise<Aes['unsafe']> {
  cpSync(home, folder, { recursive: true });
  writeFileSync(join(folder, 'aes.js'), changed(readFileSync(aes, 'utf8'), '/@noble/ciphers/aes.js') ?? '');
  return ((await import(pathToFileURL(join(folder, 'aes.js')).href)) as Aes).unsafe;
}

describe('AES as it is bundled', () => {
  it('has no table of 65,536 entries', () => {
    expect(readFileSync(aes, 'utf8')).toContain('(256 * 256)');
    expect(changed(readFileSync(aes, 'utf8'), aes)).not.toContain('(256 * 256)');
  });

  it('is AES, for keys of 128, 192 and 256 bits', async () => {
    const unsafe = await changedAes();
    for (const length of [16, 24, 32]) {
      for (let i = 0; i < 300; i++) {
        const [key, block] = [randomBytes(length), randomBytes(16)];
        const cipher = createCipheriv(`aes-${8 * length}-ecb`, key, null).setAutoPadding(false);
        const expected = cipher.update(block).toString('hex');
        const sealed = unsafe.encryptBlock(unsafe.expandKeyLE(key), Uint8Array.from(block));
        expect(Buffer.from(sealed).toString('hex')).toBe(expected);
        const opened = unsafe.decryptBlock(unsafe.expandKeyDecLE(key), Uint8Array.from(sealed));
        expect(Buffer.from(opened).toString('hex')).toBe(block.toString('hex'));
      }
    }
  });
});

describe('what is written in another way', () => {
  it('fails the build', () => {
    expect(() => changed('const something = 1;', '/x/@noble/ciphers/aes.js')).toThrow('aes.js is written in another way');
  });

  it('stays as it is where nothing is to be changed', () => {
    expect(changed('const something = 1;', join(dirname(aes), 'utils.js'))).toBeUndefined();
  });
});
