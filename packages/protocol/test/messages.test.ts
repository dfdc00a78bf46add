// Proves invariant 5 for the messages alone: whatever is changed, cut, stretched or moved into
// another exchange is refused.

import { describe, expect, it } from 'vitest';
import { LENGTH, TYPE } from '../src/constants.js';
import { MalformedMessage } from '../src/errors.js';
import {
  decodeLinkRequest,
  decodeM1,
  decodeM4,
  decodeM5,
  encodeM1,
  openC5,
  openM2,
  openM3,
  openM4,
  openM7,
  openM8,
  openM9,
  openM6,
  sealM2,
  sealM3,
  sealM4,
  sealM6,
  sealM7,
  sealM8,
  sealM9,
} from '../src/messages.js';
import {
  flipped,
  hex,
  MESSAGES,
  type MessageName,
  receive,
  resized,
  sealExchange,
  secret,
  type Terms,
  termsOf,
  vectors,
} from './fixtures.js';

const terms = termsOf(vectors[0]!);
const exchange = sealExchange(terms);
const SEALED = MESSAGES.slice(1);

describe('the exchange as it should be', () => {
  it.each(MESSAGES)('%s has the length and first octet of the profile, and is taken', (name) => {
    expect(exchange[name]).toHaveLength(LENGTH[name]);
    expect(exchange[name][0]).toBe(0x10 + Number(name.slice(1)));
    expect(receive[name](exchange[name], exchange)).toBeDefined();
  });

  it.each(MESSAGES)('%s is taken just so from a Buffer that holds more than the message', (name) => {
    const datagram = Buffer.concat([Buffer.alloc(5, 0xff), exchange[name], Buffer.alloc(3, 0xff)]);
    const message = datagram.subarray(5, 5 + LENGTH[name]);
    expect(receive[name](message, exchange)).toEqual(receive[name](exchange[name], exchange));
    expect(hex(message), 'the datagram is left as it came').toBe(hex(exchange[name]));
  });
});

describe('one bit flipped', () => {
  it.each(SEALED)('in %s: refused, whichever', (name) => {
    const bits = Array.from({ length: LENGTH[name] * 8 }, (_, bit) => bit);
    const taken = bits.filter((bit) => receive[name](flipped(exchange[name], bit), exchange) !== undefined);
    expect(taken).toEqual([]);
  });

  it('in M1: it is no M1, or else M4 and C5 over the true one do not open', () => {
    for (let bit = 0; bit < LENGTH.M1 * 8; bit++) {
      const M1 = flipped(exchange.M1, bit);
      expect(receive.M1(M1, exchange) === undefined).toBe(bit < 8);
      expect(openM4(decodeM4(exchange.M4), exchange.key, M1), `M4, bit ${bit}`).toBeUndefined();
      expect(openC5({ ...exchange, m1Octets: M1 }, decodeM5(exchange.M5).c5, exchange.psk), `C5, bit ${bit}`).toBeUndefined();
    }
  });
});

describe('any other length', () => {
  it.each(MESSAGES)('of %s, from 0 octets to 2 too many: refused', (name) => {
    const lengths = Array.from({ length: LENGTH[name] + 3 }, (_, length) => length).filter((length) => length !== LENGTH[name]);
    const taken = lengths.filter((length) => receive[name](resized(exchange[name], length), exchange) !== undefined);
    expect(taken).toEqual([]);
  });

  it('the error tells lengths and no octet', () => {
    const short = exchange.M1.subarray(1);
    expect(() => decodeM1(short)).toThrow(MalformedMessage);
    expect(() => decodeM1(short)).toThrow('M1 has 21 octets and another first octet than was given (20 octets)');
  });
});

describe('another type', () => {
  const pairs = MESSAGES.flatMap((from) => SEALED.filter((to) => to !== from).map((to) => [from, to] as const));

  it.each(pairs)('%s for %s: refused, as it is and with the first octet and length of the other', (from, to) => {
    const disguised = resized(exchange[from], LENGTH[to]);
    disguised[0] = TYPE[to];
    expect(receive[to](exchange[from], exchange)).toBeUndefined();
    expect(receive[to](disguised, exchange)).toBeUndefined();
  });

  it('an answer to M2 is none to M7, nor the other way round', () => {
    const { M2, M3, M7, M8, M9, skCs, nonces } = exchange;
    expect(openM3(M3, M7, skCs)).toBeUndefined();
    expect(openM8(M8, M2, skCs)).toBeUndefined();
    expect(openM9(M9, M7, skCs)).toBeUndefined();
    expect(openM9(sealM9(exchange, nonces.M9, M7, skCs), M2, skCs)).toBeUndefined();
    expect(openM9(sealM9(exchange, nonces.M9, M7, skCs), M7, skCs)).toEqual({ reason: terms.reason, idI: terms.idI });
  });

  it('an opener is not fooled by what the other request decodes to', () => {
    expect(openM7(decodeLinkRequest(exchange.M2), exchange.skCs)).toBeUndefined();
    expect(openM2(decodeLinkRequest(exchange.M7), exchange.skCs)).toBeUndefined();
  });

  it('M2 and M7 whose M1 is not one do not open', () => {
    const m1Octets = Uint8Array.from(exchange.M1);
    m1Octets[0] = 0x21;
    const body = { ...exchange, m1Octets, c5: decodeM5(exchange.M5).c5 };
    const header = { ...exchange, nonce: exchange.nonces.M2 };
    expect(openM2(decodeLinkRequest(sealM2(header, body, exchange.skCs)), exchange.skCs)).toBeUndefined();
    expect(openM7(decodeLinkRequest(sealM7(header, body, exchange.skCs)), exchange.skCs)).toBeUndefined();
  });
});

describe('another exchange', () => {
  const other = { ...terms.nonces };
  /** Exchanges that differ from the first in one thing. */
  const differing = {
    node: { idI: terms.idI + 1 },
    controller: { idC: terms.idC + 1 },
    transaction: { tid: terms.tid + 1n },
    'time stamp': { ts: terms.ts + 1n },
    RN_i: { rnI: flipped(terms.rnI, 127) },
    RN_c: { rnC: flipped(terms.rnC, 127) },
    NID_i: { nidI: flipped(terms.nidI, 143) },
    K_i: { key: secret(1) },
    SK_cs: { skCs: secret(2) },
    'nonce of M2': { nonces: { ...other, M2: flipped(other.M2, 0) } },
    'nonce of M7': { nonces: { ...other, M7: flipped(other.M7, 0) } },
  } satisfies Record<string, Partial<Terms>>;
  type Difference = keyof typeof differing;

  const M2: Difference[] = ['node', 'controller', 'transaction', 'time stamp', 'RN_i', 'RN_c', 'SK_cs', 'nonce of M2'];
  const M5: Difference[] = ['node', 'controller', 'transaction', 'RN_i', 'RN_c', 'K_i'];

  /**
   * What the receiver itself holds a message against. What it bears in its own clear part is
   * covered by the flipped bits.
   */
  const boundTo: Record<MessageName, readonly Difference[]> = {
    M1: [],
    M2: ['SK_cs'],
    M3: M2,
    M4: ['node', 'RN_i', 'K_i'],
    M5,
    M6: M5,
    M7: ['SK_cs'],
    M8: [...M5, 'time stamp', 'NID_i', 'SK_cs', 'nonce of M7'],
    M9: M2,
  };

  const cases = MESSAGES.flatMap((name) =>
    (Object.keys(differing) as Difference[]).map((difference) => {
      const refused = boundTo[name].includes(difference);
      return { name, difference, refused, verdict: refused ? 'refused' : 'taken' };
    }),
  );

  it.each(cases)('$name in an exchange with another $difference: $verdict', ({ name, difference, refused }) => {
    const another = sealExchange({ ...terms, ...differing[difference] });
    expect(receive[name](exchange[name], another) === undefined).toBe(refused);
  });

  it('the right answer for another node is told apart by its ID_i', () => {
    const forOther = sealM9({ reason: 1, idI: terms.idI + 1 }, exchange.nonces.M9, exchange.M2, exchange.skCs);
    expect(openM9(forOther, exchange.M2, exchange.skCs)).toEqual({ reason: 1, idI: terms.idI + 1 });
    expect(receive.M9(forOther, exchange)).toBeUndefined();
  });
});

describe('fields', () => {
  it.each([0, 15, 17])('an RN_i of %i octets does not go into M1', (length) => {
    expect(() => encodeM1({ idI: 1, rnI: new Uint8Array(length) })).toThrow(RangeError);
  });

  it('a nonce, NID_i or C5 of another size does not go onto the link', () => {
    const header = { ...exchange, nonce: exchange.nonces.M7 };
    const body = { ...exchange, c5: decodeM5(exchange.M5).c5 };
    const { skCs } = exchange;
    expect(() => sealM7({ ...header, nonce: new Uint8Array(12) }, body, skCs)).toThrow(RangeError);
    expect(() => sealM7(header, { ...body, nidI: new Uint8Array(17) }, skCs)).toThrow(RangeError);
    expect(() => sealM7(header, { ...body, c5: new Uint8Array(23) }, skCs)).toThrow(RangeError);
  });

  const notU32 = [2 ** 32, -1, 0.5, Number.NaN, Number.POSITIVE_INFINITY];
  const notU64 = [2n ** 64n, -1n];
  const { M2, M5, M7, psk, key, skCs, nonces } = exchange;

  it.each(notU32)('a lifetime of %d is refused, not cut down to one that fits: M6, M8', (lifetime) => {
    expect(() => sealM6(exchange, { lifetime }, psk, M5)).toThrow(RangeError);
    expect(() => sealM8({ idI: terms.idI, lifetime }, nonces.M8, M7, skCs)).toThrow(RangeError);
  });

  it.each([0, 2 ** 32 - 1])('a lifetime of %i goes into M6 and M8 and comes out', (lifetime) => {
    expect(openM6(exchange, sealM6(exchange, { lifetime }, psk, M5), psk, M5)).toEqual({ lifetime });
    expect(openM8(sealM8({ idI: 1, lifetime }, nonces.M8, M7, skCs), M7, skCs)).toEqual({ idI: 1, lifetime });
  });

  it.each(notU32)('an ID of %d is refused: M1, M2, M3, M4, M8, M9', (id) => {
    expect(() => encodeM1({ idI: id, rnI: terms.rnI })).toThrow(RangeError);
    expect(() => sealM2({ ...exchange, idC: id, nonce: nonces.M2 }, exchange, skCs)).toThrow(RangeError);
    expect(() => sealM3({ key, idI: id }, nonces.M3, M2, skCs)).toThrow(RangeError);
    expect(() => sealM4({ ...exchange, idC: id }, terms, key, exchange.M1)).toThrow(RangeError);
    expect(() => sealM8({ idI: id, lifetime: 1 }, nonces.M8, M7, skCs)).toThrow(RangeError);
    expect(() => sealM9({ idI: id, reason: 1 }, nonces.M9, M2, skCs)).toThrow(RangeError);
  });

  it.each([256, -1, 0.5])('a reason of %d is refused: M9', (reason) => {
    expect(() => sealM9({ idI: terms.idI, reason }, nonces.M9, M2, skCs)).toThrow(RangeError);
  });

  it.each(notU64)('a TID or TS of %d is refused: M2, M4', (value) => {
    const header = { ...exchange, nonce: nonces.M2 };
    expect(() => sealM2({ ...header, tid: value }, exchange, skCs)).toThrow(RangeError);
    expect(() => sealM2(header, { ...exchange, ts: value }, skCs)).toThrow(RangeError);
    expect(() => sealM4({ ...exchange, tid: value }, terms, key, exchange.M1)).toThrow(RangeError);
  });
});
