// What the test files share: octets from hex, randomness that is the same in every run, one
// exchange sealed message by message from its terms, and what the receiver of each message makes of
// it.

import { createHash } from 'node:crypto';
import { expect } from 'vitest';
import { LABEL_M4, LABEL_M5_M6, type LENGTH } from '../src/constants.js';
import { tryDecode } from '../src/errors.js';
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
import { equalInConstantTime } from '../src/octets.js';
import { derivePsk } from '../src/psk.js';
import { Secret } from '../src/secret.js';
import profile1 from './vectors/profile1.json' with { type: 'json' };

/** No matcher sees into a Secret, so without this any two keys would be equal. */
expect.addEqualityTesters([(a, b) => (a instanceof Secret && b instanceof Secret ? a === b || a.equals(b) : undefined)]);

export const { vectors } = profile1;
export type Vector = (typeof vectors)[number];
/** M10 and M11, which only pass-through controllers get, have tests of their own. */
export type MessageName = Exclude<keyof typeof LENGTH, 'M10' | 'M11'>;
export const MESSAGES = ['M1', 'M2', 'M3', 'M4', 'M5', 'M6', 'M7', 'M8', 'M9'] as const satisfies MessageName[];

export function octets(digits: string): Uint8Array {
  return Uint8Array.from(Buffer.from(digits, 'hex'));
}

export function hex(given: Uint8Array): string {
  return Buffer.from(given).toString('hex');
}

/** A key of 16 equal octets. */
export function secret(octet: number): Secret {
  return Secret.from(new Uint8Array(16).fill(octet));
}

/** Octets that differ from draw to draw, and not from run to run. */
export function seededRandomBytes(seed: string): (n: number) => Uint8Array {
  let calls = 0;
  return (n) => {
    calls += 1;
    return Uint8Array.from(createHash('sha512').update(`${seed} ${calls}`).digest().subarray(0, n));
  };
}

/** The first `length` octets, zeroes after the last. */
export function resized(given: Uint8Array, length: number): Uint8Array {
  const out = new Uint8Array(length);
  out.set(given.subarray(0, length));
  return out;
}

/** A copy with one bit changed, bit 0 being the highest of the first octet. */
export function flipped(given: Uint8Array, bit: number): Uint8Array {
  return given.map((octet, i) => (i === bit >> 3 ? octet ^ (0x80 >> (bit & 7)) : octet));
}

/** What goes into the nine messages of an exchange. */
export interface Terms {
  readonly idI: number;
  readonly idC: number;
  readonly tid: bigint;
  readonly ts: bigint;
  readonly lifetime: number;
  readonly reason: number;
  readonly key: Secret;
  readonly skCs: Secret;
  readonly rnI: Uint8Array;
  readonly rnC: Uint8Array;
  readonly nidI: Uint8Array;
  readonly nonces: Readonly<Record<'M2' | 'M3' | 'M7' | 'M8' | 'M9', Uint8Array>>;
}

export function termsOf({ input }: Vector): Terms {
  return {
    idI: Number.parseInt(input.ID_i, 16),
    idC: Number.parseInt(input.ID_c, 16),
    tid: BigInt(`0x${input.TID}`),
    ts: BigInt(`0x${input.TS}`),
    lifetime: input.lifetime,
    reason: input.reason,
    key: Secret.fromHex(input.K_i),
    skCs: Secret.fromHex(input.SK_cs),
    rnI: octets(input.RN_i),
    rnC: octets(input.RN_c),
    nidI: octets(input.NID_i),
    nonces: {
      M2: octets(input.nonce_M2),
      M3: octets(input.nonce_M3),
      M7: octets(input.nonce_M7),
      M8: octets(input.nonce_M8),
      M9: octets(input.nonce_M9),
    },
  };
}

export interface Exchange extends Terms, Readonly<Record<MessageName, Uint8Array>> {
  readonly psk: Secret;
  readonly ekM4: Secret;
  readonly ekM5M6: Secret;
  readonly m1Octets: Uint8Array;
}

/** All nine messages; M9 refuses M2. */
export function sealExchange(terms: Terms): Exchange {
  const { idI, rnI, rnC, key, skCs, nonces } = terms;
  const psk = derivePsk(key, rnI, rnC);
  const M1 = encodeM1(terms);
  const bound = { ...terms, m1Octets: M1 };
  const M2 = sealM2({ ...bound, nonce: nonces.M2 }, bound, skCs);
  const M3 = sealM3({ key, idI }, nonces.M3, M2, skCs);
  const M4 = sealM4(terms, terms, key, M1);
  const M5 = sealM5(bound, rnC, psk);
  const M7 = sealM7({ ...bound, nonce: nonces.M7 }, { ...bound, c5: decodeM5(M5).c5 }, skCs);
  const M8 = sealM8(terms, nonces.M8, M7, skCs);
  const M6 = sealM6(terms, terms, psk, M5);
  const M9 = sealM9(terms, nonces.M9, M2, skCs);
  const [ekM4, ekM5M6] = [ccmKey(key, LABEL_M4), ccmKey(psk, LABEL_M5_M6)];
  return { ...bound, psk, ekM4, ekM5M6, M1, M2, M3, M4, M5, M6, M7, M8, M9 };
}

/** EK(K, T), which the package never has but as a schedule. */
function ccmKey(key: Secret, label: number): Secret {
  const block = new Uint8Array(16);
  block[0] = label;
  return Secret.from(key.cipher.encrypt(block));
}

type Receive = (given: Uint8Array, of: Exchange) => unknown;

/**
 * What the receiver of a message in the exchange `of` makes of `given`: its content, or `undefined`
 * where it is refused.
 */
export const receive: Readonly<Record<MessageName, Receive>> = {
  M1: (given) => tryDecode(decodeM1, given),
  M2: (given, of) => {
    const request = tryDecode(decodeLinkRequest, given);
    return request && openM2(request, of.skCs);
  },
  M3: (given, of) => ofNode(of, openM3(given, of.M2, of.skCs)),
  M4: (given, of) => {
    const m4 = tryDecode(decodeM4, given);
    const opened = m4 && openM4(m4, of.key, of.M1);
    return opened && equalInConstantTime(opened.rnI, of.rnI) ? opened : undefined;
  },
  M5: (given, of) => {
    const m5 = tryDecode(decodeM5, given);
    const rnC = m5 && openC5({ ...of, tid: m5.tid }, m5.c5, of.psk);
    return rnC && m5.tid === of.tid && equalInConstantTime(rnC, of.rnC) ? rnC : undefined;
  },
  M6: (given, of) => openM6(of, given, of.psk, of.M5),
  M7: (given, of) => {
    const request = tryDecode(decodeLinkRequest, given);
    return request && openM7(request, of.skCs);
  },
  M8: (given, of) => ofNode(of, openM8(given, of.M7, of.skCs)),
  M9: (given, of) => ofNode(of, openM9(given, of.M2, of.skCs)),
};

function ofNode<T extends { readonly idI: number }>(of: Exchange, opened: T | undefined): T | undefined {
  return opened?.idI === of.idI ? opened : undefined;
}
