// Proves that AES as it is installed here, with or without small tables (docs/decisions/0012), is
// AES: key schedules and blocks, both ways, against OpenSSL.

import { createCipheriv, randomBytes } from 'node:crypto';
import { unsafe } from '@noble/ciphers/aes.js';
import { expect, it } from 'vitest';

it.each([128, 192, 256])('is AES-%d', (bits) => {
  for (let i = 0; i < 1_000; i++) {
    const [key, block] = [randomBytes(bits / 8), randomBytes(16)];
    const cipher = createCipheriv(`aes-${bits}-ecb`, key, null).setAutoPadding(false);
    const sealed = unsafe.encryptBlock(unsafe.expandKeyLE(key), Uint8Array.from(block));
    expect(Buffer.from(sealed).toString('hex')).toBe(cipher.update(block).toString('hex'));
    const opened = unsafe.decryptBlock(unsafe.expandKeyDecLE(key), Uint8Array.from(sealed));
    expect(Buffer.from(opened).toString('hex')).toBe(block.toString('hex'));
  }
});
