// Proves that a key leaves a Secret by expose() and toHex() alone: not by printing, not by JSON,
// not by an error, not once wiped.

import { format, inspect } from 'node:util';
import { describe, expect, it } from 'vitest';
import { Secret } from '../src/secret.js';
import { hex, octets, secret } from './fixtures.js';

const HEX = '72a7ab318788b3628e9f10ad3dcb0ee6';

function wiped(): Secret {
  const key = secret(7);
  key.wipe();
  return key;
}

describe('printing', () => {
  const key = Secret.fromHex(HEX);
  const printed = `[secret ${key.fingerprint}]`;

  it('a fingerprint has 4 hex digits and differs from key to key', () => {
    expect(key.fingerprint).toMatch(/^[0-9a-f]{4}$/);
    expect(key.fingerprint).not.toBe(HEX.slice(0, 4));
    expect(new Set([1, 2, 3, 4].map((octet) => secret(octet).fingerprint))).toHaveProperty('size', 4);
  });

  it.each<[string, () => string]>([
    ['toString', () => key.toString()],
    ['a join', () => [key].join()],
    ['inspect', () => inspect(key)],
    ['%s', () => format('%s', key)],
    ['%o', () => format('%o', key)],
    ['%O', () => format('%O', key)],
  ])('%s gives the fingerprint', (_, print) => {
    expect(print()).toBe(printed);
  });

  it('inspect shows no octet of a key within other things, however deep it looks', () => {
    const shown = inspect(
      { node: { keys: [key], byId: new Map([[1, key]]) } },
      { depth: Infinity, showHidden: true, getters: true },
    );
    expect(shown.split(printed)).toHaveLength(3);
    expect(shown).not.toContain(HEX);
  });

  it('inspect shows no octet without the custom printer either', () => {
    const octetsInDecimal = [...octets(HEX)].slice(0, 3).join(', ');
    const shown = inspect(key, { customInspect: false, showHidden: true, depth: Infinity });
    expect(shown).not.toContain(octetsInDecimal);
    expect(Object.getOwnPropertyNames(key)).toEqual([]);
  });

  it('JSON.stringify throws, wherever the key is', () => {
    expect(() => JSON.stringify(key)).toThrow(TypeError);
    expect(() => JSON.stringify({ node: [{ key }] })).toThrow(TypeError);
    expect(() => format('%j', key)).toThrow(TypeError);
  });
});

describe('fromHex', () => {
  it('takes 32 hex digits of either case', () => {
    expect(Secret.fromHex(HEX).toHex()).toBe(HEX);
    expect(Secret.fromHex(HEX.toUpperCase()).toHex()).toBe(HEX);
  });

  it.each([
    '',
    HEX.slice(1),
    `${HEX}0`,
    `${HEX}\n`,
    ` ${HEX}`,
    `0x${HEX.slice(2)}`,
    HEX.replace('7', 'g'),
    `${HEX.slice(0, 30)}٣٤`,
  ])('refuses %j and says none of it', (text) => {
    const attempt = (): Secret => Secret.fromHex(text);
    expect(attempt).toThrow('a key is written as 32 hex digits');
    for (let at = 0; at + 4 <= text.length; at++) expect(attempt).not.toThrow(text.slice(at, at + 4));
  });
});

describe('from', () => {
  it('copies, so that the caller can wipe its own', () => {
    const own = octets(HEX);
    const key = Secret.from(own);
    own.fill(0);
    expect(key.toHex()).toBe(HEX);
  });

  it.each([0, 15, 17, 32])('refuses %i octets', (length) => {
    expect(() => Secret.from(new Uint8Array(length))).toThrow(RangeError);
  });
});

describe('equals', () => {
  it('compares octets, not objects', () => {
    expect(Secret.fromHex(HEX).equals(Secret.fromHex(HEX))).toBe(true);
    expect(secret(1).equals(secret(2))).toBe(false);
  });
});

describe('a wiped key', () => {
  it('is zeroed in place', () => {
    const key = secret(7);
    const exposed = key.expose();
    key.wipe();
    expect(hex(exposed)).toBe('0'.repeat(32));
  });

  it.each<[string, (key: Secret) => unknown]>([
    ['expose', (key) => key.expose()],
    ['toHex', (key) => key.toHex()],
    ['fingerprint', (key) => key.fingerprint],
    ['equals', (key) => key.equals(secret(7))],
    ['equals, as the other', (key) => secret(7).equals(key)],
  ])('throws when used: %s', (_, use) => {
    expect(() => use(wiped())).toThrow('a wiped key was used');
  });

  it('still prints, and may be wiped again', () => {
    const key = wiped();
    expect(String(key)).toBe('[secret wiped]');
    expect(() => key.wipe()).not.toThrow();
  });
});
