// Proves that a label is read back as it was written, in capitals too, and that what is wrong with
// one is named without its key.

import { Secret } from '@latchkey/protocol';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { UsageFailure } from '@latchkey/runtime/failure';
import { formatLabel, formatLabelInCapitals, parseLabel } from '../src/label.js';
import { isLabel, nodeOfLabel } from '../src/label-text.js';
import type { ManifestLine } from '../src/manifest.js';

const KEY = '5b2e9d0c4f61a7384c1d9e0b7a6f5e4d';
const LABEL = `latchkey:1/0000a1b2/00000001/${KEY}/192.0.2.1:5683`;

/** Not every address of a machine: 0.0.0.0, ::, ::ffff:0:0. */
const isPeer = (address: string): boolean => /[1-9a-e]/i.test(address);

const line: fc.Arbitrary<ManifestLine> = fc.record({
  idI: fc.nat(0xffff_ffff),
  idC: fc.nat(0xffff_ffff),
  controller: fc.record({
    host: fc.oneof(
      fc.ipV4().filter(isPeer),
      fc.ipV6().filter(isPeer),
      fc.domain(),
      fc.constantFrom('fe80::1%eth0', 'fe80::1%wg_home', 'FE80::1%Ethernet2', 'straße.example', 'Host'),
    ),
    port: fc.integer({ min: 1, max: 65_535 }),
  }),
  ik: fc
    .uint8Array({ minLength: 16, maxLength: 16 })
    .filter((octets) => new Set(octets).size > 1)
    .map((octets) => Secret.from(octets)),
});

/** With the key as digits, and names as they are compared: without case, but for an interface's. */
function plain({ controller, ik, ...rest }: ManifestLine): unknown {
  const [host = '', ...zone] = controller.host.split('%');
  return { ...rest, controller: { host: [host.toLowerCase(), ...zone].join('%'), port: controller.port }, ik: ik.toHex() };
}

function refusal(text: string): UsageFailure {
  try {
    parseLabel(text, 'standard input');
  } catch (error) {
    if (error instanceof UsageFailure) return error;
    throw error;
  }
  throw new Error('it was not refused');
}

describe('a label', () => {
  it('is read back as it was written, in capitals or not', () => {
    fc.assert(
      fc.property(line, (given) => {
        expect(plain(parseLabel(formatLabel(given), 'l'))).toEqual(plain(given));
        expect(plain(parseLabel(formatLabelInCapitals(given), 'l'))).toEqual(plain(given));
      }),
    );
  });

  it('is one text with the five things a device is told', () => {
    const given = { idI: 0xa1b2, idC: 1, controller: { host: '2001:db8::1', port: 5683 }, ik: Secret.fromHex(KEY) };
    expect(formatLabel(given)).toBe(`latchkey:1/0000a1b2/00000001/${KEY}/[2001:db8::1]:5683`);
    expect(formatLabelInCapitals(given)).toBe(`LATCHKEY:1/0000A1B2/00000001/${KEY.toUpperCase()}/[2001:DB8::1]:5683`);
  });

  it('in capitals has the letters of the alphanumeric mode alone, but for an IPv6 address', () => {
    const given = { idI: 0xa1b2, idC: 1, controller: { host: 'controller-1.example', port: 5683 }, ik: Secret.fromHex(KEY) };
    expect(formatLabelInCapitals(given)).toMatch(/^[0-9A-Z $%*+\-./:]+$/);
  });

  it.each([`${LABEL}\n`, `\r\n  ${LABEL}\t\r\n`, LABEL.toUpperCase(), LABEL.replace('latchkey', 'Latchkey')])(
    'is taken where it stands as %j',
    (text) => {
      expect(plain(parseLabel(text, 'l'))).toEqual({
        idI: 0xa1b2,
        idC: 1,
        controller: { host: '192.0.2.1', port: 5683 },
        ik: KEY,
      });
    },
  );

  it('is told from the name of a file', () => {
    expect([LABEL, LABEL.toUpperCase(), ` ${LABEL}`, 'latchkey:'].map(isLabel)).toEqual([true, true, true, true]);
    expect(['label.txt', '-', '', './latchkey:1', 'latchkey'].map(isLabel)).toEqual([false, false, false, false, false]);
  });
});

it('of a label a page reads the ID of its node, and nothing of what is no label', () => {
  expect([LABEL, LABEL.toUpperCase(), ` ${LABEL}\n`].map(nodeOfLabel)).toEqual(['0000a1b2', '0000a1b2', '0000a1b2']);
  for (const text of [KEY, LABEL.replace(':1/', ':2/'), LABEL.slice(0, 19), `x${LABEL}`, 'latchkey:1/0000a1b/'])
    expect(nodeOfLabel(text)).toBeUndefined();
});

describe('a bad label', () => {
  it.each([
    ['has no text', '', 'expected one label, latchkey:1/ID/CONTROLLER_ID/IK/HOST:PORT'],
    ['is the key alone', KEY, 'expected one label'],
    [
      'has a key of zeros',
      LABEL.replace(KEY, '0'.repeat(32)),
      'ik: its digits are all 0 or all f: no key was ever written there',
    ],
    ['has a key of erased memory', LABEL.replace(KEY, 'f'.repeat(32)), 'ik: its digits are all 0 or all f'],
    ['is a line of a manifest', `0000a1b2,00000001,192.0.2.1:5683,${KEY}`, 'expected one label'],
    ['came through another keyboard layout', LABEL.replaceAll('/', '-').replace(':', 'Ö'), 'expected one label'],
    ['is of another version', LABEL.replace(':1/', ':2/'), 'version: expected a label of version 1'],
    ['was scanned twice', `${LABEL}\n${LABEL}\n`, 'expected one label without white space in it'],
    ['was cut off', LABEL.slice(0, 60), 'expected five parts'],
    ['has a part too many', `${LABEL}/x`, 'expected five parts'],
    ['has a short ID', LABEL.replace('0000a1b2', 'a1b2'), 'id: expected 8 hex digits'],
    ['has no controller ID', LABEL.replace('00000001', ''), 'controller_id: expected 8 hex digits'],
    ['has a key of 31 digits', LABEL.replace(KEY, KEY.slice(1)), 'ik: expected 32 hex digits'],
    ['has a key that is no number', LABEL.replace(KEY, `${KEY.slice(1)}x`), 'ik: expected 32 hex digits'],
    ['has no port', LABEL.replace(':5683', ''), 'controller: expected HOST:PORT'],
    ['has port 0', LABEL.replace('5683', '0'), 'controller: expected HOST:PORT'],
  ])('that %s is refused in words, without its key', (_, text, message) => {
    const error = refusal(text);
    expect(error.message).toContain(`standard input: ${message}`);
    expect(error.exitCode).toBe(2);
    expect(String(error.stack) + String(error.advice) + String(error.cause)).not.toContain(KEY.slice(1, 12));
  });

  it('is refused with all that is wrong', () => {
    expect(refusal(LABEL.replace('0000a1b2', 'x').replace(KEY, 'y')).message).toBe(
      'standard input: id: expected 8 hex digits; ik: expected 32 hex digits',
    );
  });
});
