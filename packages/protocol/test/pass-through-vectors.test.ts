// Proves that the messages of a pass-through transaction agree octet for octet with an independent
// implementation, in both directions. vectors/pass-through.json was made by that implementation;
// nothing in it comes from this package.

import { describe, expect, it } from 'vitest';
import {
  c4Of,
  c6Of,
  decodeLinkRequest,
  decodeM4,
  decodeM5,
  encodeM1,
  encodeM4,
  encodeM6,
  openC5,
  openM10,
  openM11,
  openM2,
  openM4,
  openM6,
  openM7,
  sealM10,
  sealM11,
  sealM2,
  sealM4,
  sealM5,
  sealM6,
  sealM7,
} from '../src/messages.js';
import { derivePassThroughRnC } from '../src/pass-through.js';
import { derivePsk } from '../src/psk.js';
import { Secret } from '../src/secret.js';
import { answerCommitted, type CommitDecision, decide, openLinkRequest, type ServerNodeRecord } from '../src/server.js';
import { hex, octets } from './fixtures.js';
import passThrough from './vectors/pass-through.json' with { type: 'json' };

describe.each(passThrough.vectors)('$name', (vector) => {
  const { input } = vector;
  const [idI, idC] = [Number.parseInt(input.ID_i, 16), Number.parseInt(input.ID_c, 16)];
  const [tid, ts] = [BigInt(`0x${input.TID}`), BigInt(`0x${input.TS}`)];
  const [key, skCs, transactionKey] = [input.K_i, input.SK_cs, input.TK].map((digits) => Secret.fromHex(digits)) as [
    Secret,
    Secret,
    Secret,
  ];
  const [rnI, rnC, nidI] = [octets(input.RN_i), octets(input.RN_c), octets(input.NID_i)];
  const { lifetime } = input;
  const [m1, m2, m4, m5, m7, m6] = [vector.M1, vector.M2, vector.M4, vector.M5, vector.M7, vector.M6].map(octets) as [
    Uint8Array,
    Uint8Array,
    Uint8Array,
    Uint8Array,
    Uint8Array,
    Uint8Array,
  ];
  const [m10, m11] = [octets(vector.M10), octets(vector.M11)];
  const seen = octets(vector.RN_c_seen_by_node);
  const psk = Secret.fromHex(vector.PSK_i);
  const context = { idC, tid, m1Octets: m1 };
  const wall = Number(ts);
  const node: ServerNodeRecord = {
    idI,
    key,
    initial: true,
    controller: idC,
    disabled: false,
    lifetime,
    grace: 0,
    passThrough: { transactionKey },
  };

  it('derives the RN_c that the node sees, and the PSK from it', () => {
    expect(hex(derivePassThroughRnC(transactionKey, { idC, tid, body: { rnC, ts, m1Octets: m1 } }))).toBe(hex(seen));
    expect(derivePsk(key, rnI, seen).toHex()).toBe(vector.PSK_i);
  });

  it('seals each message', () => {
    expect(hex(encodeM1({ idI, rnI }))).toBe(vector.M1);
    expect(hex(sealM2({ idC, tid, nonce: octets(input.nonce_M2) }, { rnC, ts, m1Octets: m1 }, skCs))).toBe(vector.M2);
    const sealedM4 = sealM4({ idC, tid }, { rnI, rnC: seen }, key, m1);
    expect(hex(sealedM4)).toBe(vector.M4);
    expect(hex(sealM10({ c4: c4Of(sealedM4), idI }, octets(input.nonce_M10), m2, skCs))).toBe(vector.M10);
    expect(hex(sealM5(context, seen, psk))).toBe(vector.M5);
    const body = { rnC, ts, nidI, m1Octets: m1, c5: decodeM5(m5).c5 };
    expect(hex(sealM7({ idC, tid, nonce: octets(input.nonce_M7) }, body, skCs))).toBe(vector.M7);
    const sealedM6 = sealM6({ idC, tid }, { lifetime }, psk, m5);
    expect(hex(sealedM6)).toBe(vector.M6);
    const applicationRoot = Secret.fromHex(vector.application_root);
    const content = { c6: c6Of(sealedM6), idI, lifetime, applicationRoot };
    expect(hex(sealM11(content, octets(input.nonce_M11), m7, skCs))).toBe(vector.M11);
  });

  it('opens M10 and M11, and finds M4 and M6 in them', () => {
    const opened10 = openM10(m10, m2, skCs)!;
    expect(opened10.idI).toBe(idI);
    expect(hex(encodeM4({ idC, tid, c4: opened10.c4 }))).toBe(vector.M4);
    const opened11 = openM11(m11, m7, skCs)!;
    expect([opened11.idI, opened11.lifetime]).toEqual([idI, lifetime]);
    expect(opened11.applicationRoot.toHex()).toBe(vector.application_root);
    expect(hex(encodeM6(opened11.c6))).toBe(vector.M6);
  });

  it('opens what the other messages hold', () => {
    expect(openM2(decodeLinkRequest(m2), skCs)).toMatchObject({ rnC, ts, m1Octets: m1 });
    expect(openM4(decodeM4(m4), key, m1)).toEqual({ rnI, rnC: seen });
    expect(openC5(context, decodeM5(m5).c5, psk)).toEqual(seen);
    expect(openM7(decodeLinkRequest(m7), skCs)).toMatchObject({ rnC, ts, nidI, m1Octets: m1, c5: decodeM5(m5).c5 });
    expect(openM6({ idC, tid }, m6, psk, m5)).toEqual({ lifetime });
  });

  it('as a server: answers M2 with that C4, and M7 with that C6, lifetime and application root', () => {
    const toM2 = decide(openLinkRequest(decodeLinkRequest(m2), skCs)!, node, wall);
    expect(toM2).toEqual({ kind: 'answer', with: 'M10', c4: c4Of(m4) });
    const opened = openLinkRequest(decodeLinkRequest(m7), skCs)!;
    const decision = decide(opened, node, wall) as CommitDecision;
    expect(decision).toMatchObject({ kind: 'commit', with: 'M11', to: psk });
    const applicationRoot = Secret.fromHex(vector.application_root);
    expect(answerCommitted(opened, decision)).toEqual({ kind: 'answer', with: 'M11', c6: c6Of(m6), lifetime, applicationRoot });
  });
});
