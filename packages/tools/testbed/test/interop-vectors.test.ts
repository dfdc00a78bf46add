// The second implementation is one: it makes and opens the profile's vectors, with no code of ours.

import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import * as peer from './reference-peer.js';

type Hex = Record<string, string>;
interface Vector extends Record<Exclude<string, 'input' | 'name'>, unknown> {
  readonly name: string;
  readonly input: Hex & { readonly lifetime: number; readonly reason: number };
}

const passThroughFile = new URL('../../../protocol/test/vectors/pass-through.json', import.meta.url);
const { vectors: passThrough } = JSON.parse(readFileSync(passThroughFile, 'utf8')) as { vectors: Vector[] };
const file = new URL('../../../protocol/test/vectors/profile1.json', import.meta.url);
const { vectors } = JSON.parse(readFileSync(file, 'utf8')) as { vectors: Vector[] };

describe.each(vectors)('$name', ({ input, name: _, ...wanted }) => {
  const octets = (field: string): Buffer => Buffer.from(String(input[field]), 'hex');
  const big = (field: string): bigint => BigInt(`0x${String(input[field])}`);
  const idI = Number(big('ID_i'));
  const { lifetime, reason } = input;
  const [k, sk, rnI, rnC] = [octets('K_i'), octets('SK_cs'), octets('RN_i'), octets('RN_c')];
  const key = peer.psk(k, rnI, rnC);
  const m1 = peer.m1(idI, rnI);
  const transaction = { idC: Number(big('ID_c')), tid: big('TID'), ts: big('TS'), m1, rnC };
  const m2 = peer.m2(sk, transaction, octets('nonce_M2'));
  const m3 = peer.m3(sk, m2, { k, idI }, octets('nonce_M3'));
  const m4 = peer.m4(k, transaction);
  const m5 = peer.m5(key, transaction);
  const m6 = peer.m6(key, { idC: transaction.idC, m5, lifetime });
  const fieldsM7 = { ...transaction, nid: octets('NID_i'), c5: m5.subarray(9) };
  const m7 = peer.m7(sk, fieldsM7, octets('nonce_M7'));
  const m8 = peer.m8(sk, m7, { idI, lifetime }, octets('nonce_M8'));
  const m9 = peer.m9(sk, m2, { idI, reason }, octets('nonce_M9'));

  it.each(Object.entries({ PSK_i: key, M1: m1, M2: m2, M3: m3, M4: m4, M5: m5, M6: m6, M7: m7, M8: m8, M9_for_M2: m9 }))(
    '%s',
    (field, made) => {
      expect(made.toString('hex')).toBe(wanted[field]);
    },
  );

  it('opens what it made', () => {
    expect(peer.openM1(m1)).toEqual({ idI, rnI });
    expect(peer.openM2(sk, m2)).toEqual(transaction);
    expect(peer.openM3(sk, m2, m3)).toEqual({ k, idI });
    expect(peer.openM4(k, m1, m4)).toMatchObject({ rnI, rnC });
    expect(peer.openM5(key, transaction, m5)).toEqual(rnC);
    expect(peer.openM6(key, { idC: transaction.idC, m5 }, m6)).toBe(lifetime);
    expect(peer.openM7(sk, m7)).toEqual(fieldsM7);
    expect(peer.openM8(sk, m7, m8)).toEqual({ idI, lifetime });
    expect(peer.openM9(sk, m2, m9)).toEqual({ idI, reason });
  });
});

describe.each(passThrough)('pass-through: $name', ({ input, name: _, ...wanted }) => {
  const octets = (field: string): Buffer => Buffer.from(String(input[field]), 'hex');
  const big = (field: string): bigint => BigInt(`0x${String(input[field])}`);
  const idI = Number(big('ID_i'));
  const { lifetime } = input;
  const [k, sk] = [octets('K_i'), octets('SK_cs')];
  const m1 = peer.m1(idI, octets('RN_i'));
  const transaction = { idC: Number(big('ID_c')), tid: big('TID'), ts: big('TS'), m1, rnC: octets('RN_c') };
  const rnC = peer.passThroughRnC(octets('TK'), transaction);
  const key = peer.psk(k, octets('RN_i'), rnC);
  const m2 = peer.m2(sk, transaction, octets('nonce_M2'));
  const m4 = peer.m4(k, { ...transaction, rnC });
  const m10 = peer.m10(sk, m2, { c4: m4.subarray(13), idI }, octets('nonce_M10'));
  const m5 = peer.m5(key, { ...transaction, rnC });
  const m7 = peer.m7(sk, { ...transaction, nid: octets('NID_i'), c5: m5.subarray(9) }, octets('nonce_M7'));
  const m6 = peer.m6(key, { idC: transaction.idC, m5, lifetime });
  const root = peer.applicationRoot(key, idI);
  const m11 = peer.m11(sk, m7, { c6: m6.subarray(1), idI, lifetime, root }, octets('nonce_M11'));
  const made = { M1: m1, M2: m2, M10: m10, M4: m4, M5: m5, M7: m7, M11: m11, M6: m6 };

  it.each(Object.entries({ RN_c_seen_by_node: rnC, PSK_i: key, application_root: root, ...made }))('%s', (field, value) => {
    expect(value.toString('hex')).toBe(wanted[field]);
  });

  it('opens what it made', () => {
    expect(peer.openM10(sk, m2, m10)).toEqual({ c4: m4.subarray(13), idI });
    expect(peer.openM11(sk, m7, m11)).toEqual({ c6: m6.subarray(1), idI, lifetime, root });
  });
});
