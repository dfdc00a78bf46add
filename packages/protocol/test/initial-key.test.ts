// Proves the derivation of split initial keys against an independent implementation and bare AES of
// node:crypto.

import { createCipheriv } from 'node:crypto';
import type * as Aes from '@noble/ciphers/aes.js';
import * as fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
import { deriveInitialKey } from '../src/initial-key.js';
import { Secret } from '../src/secret.js';
import { hex } from './fixtures.js';
import split from './vectors/split-key.json' with { type: 'json' };

const { expand } = vi.hoisted(() => ({ expand: vi.fn<(key: Uint8Array) => Uint32Array>() }));

vi.mock('@noble/ciphers/aes.js', async (library) => {
  const { unsafe, ...rest } = await library<typeof Aes>();
  expand.mockImplementation((key) => unsafe.expandKeyLE(key));
  return { ...rest, unsafe: { ...unsafe, expandKeyLE: expand } };
});

const any16 = fc.uint8Array({ minLength: 16, maxLength: 16 });

describe('a split initial key', () => {
  it.each(split.vectors)('is $IK_i for device key $device_key', ({ device_key, installer_half, IK_i }) => {
    expect(deriveInitialKey(Secret.fromHex(device_key), Secret.fromHex(installer_half)).toHex()).toBe(IK_i);
  });

  it('is one AES block of the installer half, XOR that half, for any two halves', () => {
    fc.assert(
      fc.property(any16, any16, (deviceKey, half) => {
        const block = createCipheriv('aes-128-ecb', deviceKey, null).setAutoPadding(false).update(half);
        const expected = block.map((octet, i) => octet ^ half[i]!);
        expect(deriveInitialKey(Secret.from(deviceKey), Secret.from(half)).toHex()).toBe(hex(expected));
      }),
    );
  });

  it('leaves both halves as they were, and outlives them', () => {
    const [deviceKey, half] = split.vectors.map(({ device_key }) => Secret.fromHex(device_key));
    const [deviceKeyHex, halfHex] = [deviceKey!.toHex(), half!.toHex()];
    const ik = deriveInitialKey(deviceKey!, half!);
    expect([deviceKey!.toHex(), half!.toHex()]).toEqual([deviceKeyHex, halfHex]);
    const before = ik.toHex();
    deviceKey!.wipe();
    half!.wipe();
    expect(ik.toHex()).toBe(before);
  });

  it('leaves nothing of the device key schedule and of the octets it was computed in', () => {
    const given: Uint8Array[] = [];
    const original = Secret.from.bind(Secret);
    const [deviceKey, half] = [original(new Uint8Array(16).fill(7)), original(new Uint8Array(16).fill(9))];
    expand.mockClear();
    const spy = vi.spyOn(Secret, 'from').mockImplementation((octets) => {
      given.push(octets);
      return original(octets);
    });
    deriveInitialKey(deviceKey, half);
    spy.mockRestore();
    const schedules = expand.mock.results.map(({ value }) => value as Uint32Array);
    expect([given.length, schedules.length]).toEqual([1, 1]);
    expect([...given, ...schedules].some((octets) => octets.some((octet) => octet !== 0))).toBe(false);
  });
});
