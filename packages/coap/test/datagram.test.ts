// Proves that a datagram is read to the letter of RFC 7252 section 3: what is written is read back,
// by us and by an independent parser alike, and nothing else is a datagram.

import { parse } from 'coap-packet';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  codeOctet,
  codeText,
  type Datagram,
  emptyMessage,
  formatDatagram,
  MESSAGE_TYPE,
  opaqueOption,
  parseDatagram,
  uintOption,
} from '../src/datagram.js';

const octets = (maxLength: number, minLength = 0): fc.Arbitrary<Buffer> =>
  fc.uint8Array({ minLength, maxLength, size: 'max' }).map((array) => Buffer.from(array));

/** Deltas and lengths on either side of where their encoding changes, and anything between. */
const optionNumber = fc.oneof(fc.constantFrom(0, 12, 13, 268, 269, 0xffff), fc.nat(0xffff));
const optionLength = fc.oneof(fc.constantFrom(0, 12, 13, 268, 269), fc.nat(20));
const option = fc.record({ number: optionNumber, value: optionLength.chain((length) => octets(length, length)) });

const datagram: fc.Arbitrary<Datagram> = fc.record({
  type: fc.nat(3),
  code: fc.integer({ min: 1, max: 255 }),
  messageId: fc.nat(0xffff),
  token: octets(8),
  options: fc.array(option, { maxLength: 5 }).map((options) => options.toSorted((a, b) => a.number - b.number)),
  payload: octets(40),
});

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex');

describe('a datagram', () => {
  it('is read back as it was written', () => {
    fc.assert(
      fc.property(datagram, (given) => {
        expect(parseDatagram(formatDatagram(given))).toEqual(given);
      }),
    );
  });

  it('means the same to the parser behind the guard', () => {
    fc.assert(
      fc.property(datagram, (given) => {
        const read = parse(formatDatagram(given));
        expect(read.code).toBe(codeText(given.code));
        expect([read.confirmable, read.ack, read.reset]).toEqual([given.type === 0, given.type === 2, given.type === 3]);
        expect([read.messageId, read.token, read.payload]).toEqual([given.messageId, given.token, given.payload]);
        expect(read.options.map(({ value }) => value)).toEqual(given.options.map(({ value }) => value));
      }),
    );
  });

  it('has one encoding: what can be read at all is written back octet for octet', () => {
    const damaged = fc
      .tuple(datagram, fc.array(fc.tuple(fc.nat(60), fc.nat(255)), { maxLength: 3 }), fc.nat(80))
      .map(([given, changes, length]) => {
        const whole = formatDatagram(given);
        for (const [at, value] of changes) if (at < whole.length) whole[at] = value;
        return whole.subarray(0, length);
      });
    let read = 0;
    fc.assert(
      fc.property(damaged, (given) => {
        const parsed = parseDatagram(given);
        if (parsed === undefined) return;
        read += 1;
        expect(formatDatagram(parsed).equals(given)).toBe(true);
      }),
      { numRuns: 1_000 },
    );
    expect(read).toBeGreaterThan(0);
  });

  it('of RFC 7252 appendix A is read as it stands there', () => {
    expect(parseDatagram(hex('41 01 7d 35 20 bb 74656d7065726174757265'))).toEqual({
      type: MESSAGE_TYPE.CON,
      code: codeOctet('0.01'),
      messageId: 0x7d35,
      token: hex('20'),
      options: [{ number: 11, value: Buffer.from('temperature') }],
      payload: Buffer.alloc(0),
    });
  });

  it('without token, options and payload has four octets', () => {
    expect(emptyMessage(MESSAGE_TYPE.RST, 0x1234)).toEqual(hex('70 00 1234'));
    expect(emptyMessage(MESSAGE_TYPE.ACK, 0xff00)).toEqual(hex('60 00 ff00'));
  });
});

describe('what is no datagram', () => {
  const whole = formatDatagram({
    type: MESSAGE_TYPE.CON,
    code: 2,
    messageId: 7,
    token: hex('0a0b'),
    options: [
      { number: 11, value: Buffer.from('k') },
      { number: 300, value: Buffer.alloc(20, 1) },
      { number: 900, value: Buffer.alloc(300, 2) },
    ],
    payload: hex('11'),
  });
  /** Where a datagram may end: after the token, after each option, after the payload. */
  const ends = new Set([6, 8, 8 + 1 + 2 + 1 + 20, whole.length - 2, whole.length]);

  it('is one cut off anywhere else than where a token, an option or the payload ends', () => {
    for (let length = 0; length <= whole.length; length++) {
      const read = parseDatagram(whole.subarray(0, length));
      expect(read !== undefined, `cut off after ${length} octets`).toBe(ends.has(length));
    }
  });

  it.each([0, 2, 3])('is one of version %i', (version) => {
    expect(parseDatagram(Buffer.of((version << 6) | 0x00, 0x02, 0, 1))).toBeUndefined();
  });

  it.each([9, 10, 11, 12, 13, 14, 15])('is one with token length %i, however many octets follow', (length) => {
    expect(parseDatagram(Buffer.concat([Buffer.of(0x40 | length, 0x02, 0, 1), Buffer.alloc(400, 1)]))).toBeUndefined();
    expect(parseDatagram(Buffer.concat([Buffer.of(0x40 | length, 0x02, 0, 1), Buffer.alloc(length)]))).toBeUndefined();
  });

  it.each([
    ['an option delta of 15', 'f0'],
    ['an option length of 15', '0f 000000000000000000000000000000'],
    ['a delta of 13 without its octet', 'd0'],
    ['a delta of 14 with one of its two octets', 'e0 00'],
    ['a length of 13 without its octet', 'bd'],
    ['a length of 14 with one of its two octets', 'be 00'],
    ['a length of 13 beyond the end', 'bd 00 00'],
    ['a length of 14 beyond the end', 'be 0000 00'],
    ['a value one octet short', 'b2 6b'],
    ['a payload marker with nothing behind it', 'ff'],
    ['a payload marker with nothing behind it, after an option', 'b1 6b ff'],
    ['an option number past 65,535', 'e0 ffff'],
    ['an option number past 65,535 in two steps', 'e0 fef2 10'],
  ])('is one with %s', (_, rest) => {
    expect(parseDatagram(hex(`40 02 0001 ${rest}`))).toBeUndefined();
  });

  it('is not one with option number 65,535', () => {
    expect(parseDatagram(hex('40 02 0001 e0 fef2'))?.options).toEqual([{ number: 0xffff, value: Buffer.alloc(0) }]);
  });

  it.each([
    ['a token', '41 00 0001 0a'],
    ['an option', '40 00 0001 b1 6b'],
    ['a payload', '60 00 0001 ff 01'],
    ['a lone octet', '70 00 0001 00'],
  ])('is an empty message with %s', (_, text) => expect(parseDatagram(hex(text))).toBeUndefined());
});

describe('an option value', () => {
  const withValue = (value: string): Datagram => ({
    ...parseDatagram(hex('40 02 0001'))!,
    options: [{ number: 14, value: hex(value) }],
  });

  it.each([
    ['', 0],
    ['00', 0],
    ['05', 5],
    ['0102', 258],
    ['010000', 65_536],
    ['ffffffff', 0xffff_ffff],
    ['0000000001', undefined],
  ])('%j is the integer %j', (value, expected) => expect(uintOption(withValue(value), 14)).toBe(expected));

  it('is undefined where the option is not there', () => {
    expect(uintOption(withValue('05'), 12)).toBeUndefined();
    expect(opaqueOption(withValue('05'), 252)).toBeUndefined();
    expect(opaqueOption(withValue('0506'), 14)).toEqual(hex('0506'));
  });
});

describe('a code', () => {
  it('is written as class and two digits of detail', () => {
    for (let code = 0; code < 256; code++) expect(codeOctet(codeText(code))).toBe(code);
    expect(codeText(0x84)).toBe('4.04');
    expect(codeOctet('2.31')).toBe(0x5f);
  });
});
