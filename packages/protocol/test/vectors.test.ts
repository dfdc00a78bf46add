// Proves that this package and an independent implementation of the profile agree octet for octet,
// in both directions. vectors/profile1.json was made by that implementation, over OpenSSL's
// AES-CCM; nothing in it comes from this package.

import { describe, expect, it } from 'vitest';
import {
  decodeLinkRequest,
  decodeM1,
  decodeM4,
  decodeM5,
  encodeM1,
  encodeM5,
  openC5,
  openM2,
  openM3,
  openM4,
  openM6,
  openM7,
  openM8,
  openM9,
  sealM2,
  sealM3,
  sealM4,
  sealM5,
  sealM6,
  sealM7,
  sealM8,
  sealM9,
} from '../src/messages.js';
import {
  type Exchange,
  hex,
  MESSAGES,
  type MessageName,
  octets,
  sealExchange,
  termsOf,
  type Vector,
  vectors,
} from './fixtures.js';

function messageOf(vector: Vector, name: MessageName): string {
  return name === 'M9' ? vector.M9_for_M2 : vector[name];
}

/** Where M3, M8 and M9 carry their nonce. */
function nonceOf(answer: Uint8Array): Uint8Array {
  return answer.subarray(1, 14);
}

/**
 * Decodes, opens, and seals again what came out, with no other source for the fields than the
 * message.
 */
const reseal: Record<MessageName, (given: Uint8Array, of: Exchange) => Uint8Array> = {
  M1: (given) => encodeM1(decodeM1(given)),
  M2: (given, of) => {
    const request = decodeLinkRequest(given);
    return sealM2(request, openM2(request, of.skCs)!, of.skCs);
  },
  M3: (given, of) => sealM3(openM3(given, of.M2, of.skCs)!, nonceOf(given), of.M2, of.skCs),
  M4: (given, of) => {
    const m4 = decodeM4(given);
    return sealM4(m4, openM4(m4, of.key, of.M1)!, of.key, of.M1);
  },
  M5: (given, of) => {
    const m5 = decodeM5(given);
    const context = { ...of, tid: m5.tid };
    return sealM5(context, openC5(context, m5.c5, of.psk)!, of.psk);
  },
  M6: (given, of) => sealM6(of, openM6(of, given, of.psk, of.M5)!, of.psk, of.M5),
  M7: (given, of) => {
    const request = decodeLinkRequest(given);
    return sealM7(request, openM7(request, of.skCs)!, of.skCs);
  },
  M8: (given, of) => sealM8(openM8(given, of.M7, of.skCs)!, nonceOf(given), of.M7, of.skCs),
  M9: (given, of) => sealM9(openM9(given, of.M2, of.skCs)!, nonceOf(given), of.M2, of.skCs),
};

describe.each(vectors)('$name', (vector) => {
  const exchange = sealExchange(termsOf(vector));

  it('derives the keys', () => {
    expect(exchange.psk.toHex()).toBe(vector.PSK_i);
    expect(exchange.ekM4.toHex()).toBe(vector.EK_M4);
    expect(exchange.ekM5M6.toHex()).toBe(vector.EK_M5_M6);
  });

  it.each(MESSAGES)('seals %s', (name) => {
    expect(hex(exchange[name])).toBe(messageOf(vector, name));
  });

  it.each(MESSAGES)('opens %s and seals it again', (name) => {
    const given = messageOf(vector, name);
    expect(hex(reseal[name](octets(given), exchange))).toBe(given);
  });

  it('finds in M2 and M7 what went into them', () => {
    const { ts, rnC, rnI, idI, nidI } = exchange;
    const m2 = openM2(decodeLinkRequest(octets(vector.M2)), exchange.skCs);
    const m7 = openM7(decodeLinkRequest(octets(vector.M7)), exchange.skCs);
    expect(m2).toEqual({ rnC, ts, m1: { idI, rnI }, m1Octets: octets(vector.M1) });
    expect(m7).toEqual({ ...m2, nidI, c5: octets(vector.M5).subarray(9) });
    expect(hex(encodeM5({ tid: exchange.tid, c5: m7!.c5 }))).toBe(vector.M5);
  });
});

it('leaves out no field of the vectors', () => {
  const covered = [...MESSAGES.slice(0, 8), 'M9_for_M2', 'PSK_i', 'EK_M4', 'EK_M5_M6', 'name', 'input'];
  for (const vector of vectors) expect(Object.keys(vector).toSorted()).toEqual(covered.toSorted());
});
