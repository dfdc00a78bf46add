// Proves that application roots, key IDs and application keys agree with an independent
// implementation. vectors/pass-through.json was made by that implementation; nothing in it comes
// from this package.

import { describe, expect, it } from 'vitest';
import { deriveApplicationKey, deriveApplicationRoot, deriveKeyId } from '../src/psk.js';
import { Secret } from '../src/secret.js';
import { hex } from './fixtures.js';
import passThrough from './vectors/pass-through.json' with { type: 'json' };

describe.each(passThrough.vectors)('$name', (vector) => {
  const idI = Number.parseInt(vector.input.ID_i, 16);
  const root = deriveApplicationRoot(Secret.fromHex(vector.PSK_i), idI);

  it('derives the application root and the key ID', () => {
    expect(root.toHex()).toBe(vector.application_root);
    expect(deriveKeyId(root, idI)).toBe(vector.key_id);
  });

  it.each(Object.entries(vector.application_keys))('derives the key for %s', (label, key) => {
    expect(hex(deriveApplicationKey(root, label, idI, key.length / 2))).toBe(key);
  });
});
