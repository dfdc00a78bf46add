// Proves that what is made of a key goes with it, and that nothing of it stays where it was made:
// watched at the library's door, through which each key passes.

import type * as Aes from '@noble/ciphers/aes.js';
import { beforeEach, expect, it, vi } from 'vitest';
import type * as Octets from '../src/octets.js';
import { BlockCipher } from '../src/cipher.js';
import { seededRandomBytes } from './fixtures.js';

const { expand, allocate } = vi.hoisted(() => ({
  expand: vi.fn<(key: Uint8Array) => Uint32Array>(),
  allocate: vi.fn<(length: number) => Uint32Array>(),
}));

vi.mock('@noble/ciphers/aes.js', async (library) => {
  const { unsafe, ...rest } = await library<typeof Aes>();
  expand.mockImplementation((key) => unsafe.expandKeyLE(key));
  return { ...rest, unsafe: { ...unsafe, expandKeyLE: expand } };
});

vi.mock('../src/octets.js', async (original) => {
  const octets = await original<typeof Octets>();
  allocate.mockImplementation(octets.allocateWords);
  return { ...octets, allocateWords: allocate };
});

const KEY = seededRandomBytes('wiping')(16);

beforeEach(() => {
  expand.mockClear();
  allocate.mockClear();
});

it('schedule and subkeys are wiped with their cipher', () => {
  const cipher = new BlockCipher(KEY);
  const { whole, padded } = cipher.subkeys;
  const [schedule] = allocate.mock.results.map(({ value }) => value as Uint32Array);
  const made = [schedule!, whole, padded];
  expect(made.map((octets) => octets.some((octet) => octet !== 0))).toEqual([true, true, true]);
  cipher.wipe();
  expect(made.map((octets) => octets.some((octet) => octet !== 0))).toEqual([false, false, false]);
});

it('nothing of a key stays where its schedule was made', () => {
  void new BlockCipher(KEY);
  const [[given] = []] = expand.mock.calls;
  expect(given).toEqual(new Uint8Array(16));
  const [expanded] = expand.mock.results.map(({ value }) => value as Uint32Array);
  expect(expanded).toEqual(new Uint32Array(44));
});
