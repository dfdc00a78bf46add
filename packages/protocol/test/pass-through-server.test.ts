// Proves what an auth-server answers for a pass-through controller: that the node sees the server's
// RN_c, that the key stays with the server, and that an M7 counts only by the flag as it is when
// the M7 is judged.

import { describe, expect, it } from 'vitest';
import { LENGTH } from '../src/constants.js';
import {
  decodeLinkRequest,
  decodeM4,
  encodeM1,
  encodeM4,
  encodeM5,
  encodeM6,
  openC5,
  openM10,
  openM11,
  openM3,
  openM4,
  openM6,
  openM8,
  sealM2,
  sealM5,
  sealM7,
} from '../src/messages.js';
import { derivePassThroughRnC } from '../src/pass-through.js';
import { deriveApplicationRoot, derivePsk } from '../src/psk.js';
import type { Secret } from '../src/secret.js';
import {
  answerCommitted,
  type CommitDecision,
  decide,
  type OpenedRequest,
  openLinkRequest,
  sealAnswer,
  type ServerAnswer,
  type ServerNodeRecord,
} from '../src/server.js';
import { flipped, hex, secret, seededRandomBytes } from './fixtures.js';

const randomBytes = seededRandomBytes('pass-through server');
const WALL = 1_795_000_000_000;
const [ID_I, ID_C] = [0xa1b2, 1];
const [SK_CS, TK, IK] = [secret(0xcc), secret(0x99), secret(0x11)];
const SWITCHED = WALL - 1_000_000;

const NODE: ServerNodeRecord = {
  idI: ID_I,
  key: IK,
  initial: true,
  controller: ID_C,
  disabled: false,
  lifetime: 3600,
  grace: 60,
  passThrough: { transactionKey: TK },
  switchedAt: SWITCHED,
};
const DRAFT: ServerNodeRecord = { ...NODE, passThrough: undefined };

interface Terms {
  readonly tid?: bigint;
  readonly ts?: number;
  readonly rnI?: Uint8Array;
  readonly rnC?: Uint8Array;
}

/** One transaction as the controller sees it: what it puts into M2 and M7. */
class ControllerSide {
  readonly header: { readonly idC: number; readonly tid: bigint };
  readonly m1Octets: Uint8Array;
  readonly rnI: Uint8Array;
  readonly rnC: Uint8Array;
  readonly ts: bigint;

  constructor({ tid = 9n, ts = WALL, rnI = randomBytes(16), rnC = randomBytes(16) }: Terms = {}) {
    this.header = { idC: ID_C, tid };
    this.rnI = rnI;
    this.rnC = rnC;
    this.ts = BigInt(ts);
    this.m1Octets = encodeM1({ idI: ID_I, rnI });
  }

  get m2(): Uint8Array {
    return sealM2({ ...this.header, nonce: randomBytes(13) }, this, SK_CS);
  }

  m7(m5: Uint8Array): Uint8Array {
    const body = { rnC: this.rnC, ts: this.ts, nidI: new Uint8Array(18), m1Octets: this.m1Octets, c5: m5.subarray(9) };
    return sealM7({ ...this.header, nonce: randomBytes(13) }, body, SK_CS);
  }

  get context() {
    return { ...this.header, m1Octets: this.m1Octets };
  }
}

function opened(octets: Uint8Array): OpenedRequest {
  return openLinkRequest(decodeLinkRequest(octets), SK_CS)!;
}

function seal(octets: Uint8Array, decision: ServerAnswer): Uint8Array {
  return sealAnswer(decodeLinkRequest(octets), opened(octets), decision, randomBytes(13), SK_CS);
}

/** The server's answer to an M2 as the node gets it. */
function m4For(side: ControllerSide, node = NODE): Uint8Array {
  const { m2 } = side;
  const decision = decide(opened(m2), node, WALL) as ServerAnswer;
  expect(decision.with).toBe('M10');
  const { c4, idI } = openM10(seal(m2, decision), m2, SK_CS)!;
  expect(idI).toBe(ID_I);
  return encodeM4({ ...side.header, c4 });
}

/** The node's M5 to an M4, with the PSK it takes from it. */
function m5For(side: ControllerSide, m4: Uint8Array, key = IK): { readonly m5: Uint8Array; readonly psk: Secret } {
  const { rnI, rnC } = openM4(decodeM4(m4), key, side.m1Octets)!;
  const psk = derivePsk(key, rnI, rnC);
  return { m5: sealM5(side.context, rnC, psk), psk };
}

function judge(m7: Uint8Array, node: ServerNodeRecord, wall = WALL): string {
  const decision = decide(opened(m7), node, wall);
  return decision.kind === 'refuse' ? decision.refusal : `${decision.kind} ${decision.with}`;
}

function commitOf(m7: Uint8Array, node = NODE): CommitDecision {
  const decision = decide(opened(m7), node, WALL);
  expect(decision).toMatchObject({ kind: 'commit', with: 'M11' });
  return decision as CommitDecision;
}

function committed(node: ServerNodeRecord, { to, commit }: CommitDecision): ServerNodeRecord {
  return { ...node, key: to.copy(), initial: false, committed: commit };
}

describe('RN_c of a pass-through transaction', () => {
  it('is the server’s in M4: not the controller’s, and not what the controller can compute', () => {
    const side = new ControllerSide();
    const seen = openM4(decodeM4(m4For(side)), IK, side.m1Octets)!;
    expect(hex(seen.rnI)).toBe(hex(side.rnI));
    expect(hex(seen.rnC)).toBe(hex(derivePassThroughRnC(TK, { ...side.header, body: side })));
    expect(hex(seen.rnC)).not.toBe(hex(side.rnC));
  });

  it('is another one for each TK, ID_c, TID, TS, RN_c and M1, and the same for the same', () => {
    const side = new ControllerSide();
    const body = { rnC: side.rnC, ts: side.ts, m1Octets: side.m1Octets };
    const base = { idC: ID_C, tid: 9n, body };
    const all = [
      derivePassThroughRnC(secret(0x98), base),
      ...[
        base,
        { ...base, idC: 2 },
        { ...base, tid: 10n },
        { ...base, body: { ...body, ts: side.ts + 1n } },
        { ...base, body: { ...body, rnC: flipped(body.rnC, 0) } },
        { ...base, body: { ...body, m1Octets: flipped(body.m1Octets, 167) } },
      ].map((contribution) => derivePassThroughRnC(TK, contribution)),
    ].map(hex);
    expect(new Set(all).size).toBe(all.length);
    expect(hex(derivePassThroughRnC(TK, { ...base }))).toBe(all[1]);
  });

  it('cannot be steered: RN_i XOR RN_c = 0x14 || 0^15 makes no PSK that is EK(K_i, 0x14)', () => {
    const block = new Uint8Array(16);
    block[0] = 0x14;
    const rnI = randomBytes(16);
    const side = new ControllerSide({ rnI, rnC: rnI.map((octet, i) => octet ^ block[i]!) });
    const { m5, psk } = m5For(side, m4For(side));
    const steered = hex(IK.cipher.encrypt(block));
    expect(derivePsk(IK, side.rnI, side.rnC).toHex()).toBe(steered);
    expect(psk.toHex()).not.toBe(steered);
    expect(commitOf(side.m7(m5)).to.toHex()).not.toBe(steered);
  });
});

describe('M2', () => {
  it('is answered with M10 while the flag is on, and with M3 otherwise', () => {
    const { m2 } = new ControllerSide();
    expect(decide(opened(m2), NODE, WALL)).toMatchObject({ kind: 'answer', with: 'M10' });
    expect(decide(opened(m2), DRAFT, WALL)).toEqual({ kind: 'answer', with: 'M3', key: IK });
  });

  it('repeated gets the same C4: the server keeps no state', () => {
    const side = new ControllerSide();
    expect(hex(m4For(side))).toBe(hex(m4For(side)));
  });

  it('gets no octet of K_i', () => {
    const { m2 } = new ControllerSide();
    const decision = decide(opened(m2), NODE, WALL);
    expect(Object.values(decision).some((value) => value === IK)).toBe(false);
    const sealed = seal(m2, decision as ServerAnswer);
    expect(sealed).toHaveLength(LENGTH.M10);
    expect(openM3(sealed, m2, SK_CS)).toBeUndefined();
  });

  it('comes under the rules of an M3: clock, assignment, hold-off', () => {
    const { m2 } = new ControllerSide();
    expect(decide(opened(m2), NODE, WALL + 30_001)).toMatchObject({ refusal: 'clock' });
    expect(decide(opened(m2), { ...NODE, controller: 2 }, WALL)).toMatchObject({ refusal: 'notAssigned' });
    expect(decide(opened(m2), { ...NODE, disabled: true }, WALL)).toMatchObject({ refusal: 'disabled' });
    expect(decide(opened(m2), { ...NODE, reissuedAt: WALL }, WALL)).toMatchObject({ refusal: 'overloaded' });
  });
});

describe('M7', () => {
  it('commits the PSK that the node has, and is answered with C6 over its M5, the lifetime and AR_i of the new key', () => {
    const side = new ControllerSide();
    const { m5, psk } = m5For(side, m4For(side));
    const m7 = side.m7(m5);
    const decision = commitOf(m7);
    expect(decision.to).toEqual(psk);
    const answer = answerCommitted(opened(m7), decision);
    const octets = seal(m7, answer);
    expect(octets).toHaveLength(LENGTH.M11);
    const m11 = openM11(octets, m7, SK_CS)!;
    expect([m11.idI, m11.lifetime]).toEqual([ID_I, 3600]);
    expect(m11.applicationRoot).toEqual(deriveApplicationRoot(psk, ID_I));
    expect(openM6(side.header, encodeM6(m11.c6), psk, m5)).toEqual({ lifetime: 3600 });
    expect(openM8(octets, m7, SK_CS)).toBeUndefined();
  });

  it('whose C5 opens to the controller’s own RN_c is no proof while the flag is on, nor one to RN_c’ while it is off', () => {
    const side = new ControllerSide();
    const draft = sealM5(side.context, side.rnC, derivePsk(IK, side.rnI, side.rnC));
    const { m5, psk } = m5For(side, m4For(side));
    const mixed = sealM5(side.context, side.rnC, psk);
    expect([draft, m5, mixed].map((each) => judge(side.m7(each), NODE))).toEqual(['proofFailed', 'commit M11', 'proofFailed']);
    expect([draft, m5, mixed].map((each) => judge(side.m7(each), DRAFT))).toEqual(['commit M8', 'proofFailed', 'proofFailed']);
  });

  it('that was kept back cannot get a fresh TS: its C5 is bound to that of its M2', () => {
    const side = new ControllerSide({ ts: WALL - 80_000 });
    const rnC = derivePassThroughRnC(TK, { ...side.header, body: side });
    const psk = derivePsk(IK, side.rnI, rnC);
    const m5 = sealM5(side.context, rnC, psk);
    expect(judge(side.m7(m5), NODE)).toBe('commit M11');
    const fresh = new ControllerSide({ ts: WALL, rnI: side.rnI, rnC: side.rnC });
    expect(judge(fresh.m7(m5), NODE)).toBe('proofFailed');
  });

  it('repeated gets C6 over that very M5, the stored lifetime and AR_i, sealed anew', () => {
    const side = new ControllerSide();
    const { m5, psk } = m5For(side, m4For(side));
    const node = { ...committed(NODE, commitOf(side.m7(m5))), lifetime: 5 };
    const again = side.m7(m5);
    const decision = decide(opened(again), node, WALL) as ServerAnswer;
    expect(decision).toMatchObject({ kind: 'answer', with: 'M11', lifetime: 3600 });
    const { c6, applicationRoot } = openM11(seal(again, decision), again, SK_CS)!;
    expect(openM6(side.header, encodeM6(c6), psk, m5)).toEqual({ lifetime: 3600 });
    expect(applicationRoot).toEqual(deriveApplicationRoot(psk, ID_I));
  });

  it('is refused by its TS and held off as for any controller', () => {
    const side = new ControllerSide();
    const { m5 } = m5For(side, m4For(side));
    expect(judge(side.m7(m5), NODE, WALL + 90_001)).toBe('clock');
    expect(judge(side.m7(m5), { ...NODE, reissuedAt: WALL })).toBe('overloaded');
  });
});

describe('a switch', () => {
  const side = new ControllerSide();
  const underWay = side.m7(sealM5(side.context, side.rnC, derivePsk(IK, side.rnI, side.rnC)));
  const wrong = side.m7(encodeM5({ tid: 9n, c5: randomBytes(24) }));

  it.each([
    [0, 'overloaded'],
    [150_000, 'overloaded'],
    [150_001, 'proofFailed'],
    [-65_000, 'overloaded'],
    [-65_001, 'proofFailed'],
  ])('%i ms ago makes a proof that does not open nobody’s fault for 150 s', (ago, expected) => {
    for (const m7 of [underWay, wrong]) expect(judge(m7, { ...NODE, switchedAt: WALL - ago })).toBe(expected);
    expect(judge(wrong, { ...DRAFT, switchedAt: WALL - ago })).toBe(expected);
  });

  it('is named to whoever logs the refusal, and changes nothing for a proof that opens', () => {
    expect(decide(opened(wrong), { ...NODE, switchedAt: WALL - 1 }, WALL)).toEqual({
      kind: 'refuse',
      refusal: 'overloaded',
      switchedAt: WALL - 1,
    });
    expect(judge(underWay, { ...DRAFT, switchedAt: WALL })).toBe('commit M8');
  });
});

describe('M10 and M11', () => {
  const side = new ControllerSide();
  const { m5 } = m5For(side, m4For(side));
  const [m2, m7] = [side.m2, side.m7(m5)];
  const m10 = seal(m2, decide(opened(m2), NODE, WALL) as ServerAnswer);
  const m11 = seal(m7, answerCommitted(opened(m7), commitOf(m7)));

  it('open over the very request they answer, under its SK_cs, and not with any bit changed', () => {
    expect(openM10(m10, m2, SK_CS)).toBeDefined();
    expect(openM11(m11, m7, SK_CS)).toBeDefined();
    expect([openM10(m10, side.m2, SK_CS), openM11(m11, side.m7(m5), SK_CS)]).toEqual([undefined, undefined]);
    expect([openM10(m10, m2, secret(1)), openM11(m11, m7, secret(1))]).toEqual([undefined, undefined]);
    for (let bit = 0; bit < 8 * m10.length; bit++) expect(openM10(flipped(m10, bit), m2, SK_CS)).toBeUndefined();
    for (let bit = 0; bit < 8 * m11.length; bit++) expect(openM11(flipped(m11, bit), m7, SK_CS)).toBeUndefined();
  });

  it('have a nonce that is made of all that is sealed', () => {
    const random = new Uint8Array(13);
    const nonceOf = (octets: Uint8Array, decision: ServerAnswer): string =>
      hex(sealAnswer(decodeLinkRequest(octets), opened(octets), decision, random, SK_CS).subarray(1, 14));
    const base = { kind: 'answer', with: 'M11', c6: new Uint8Array(12), lifetime: 1, applicationRoot: secret(1) } as const;
    const nonces = [
      nonceOf(m2, { kind: 'answer', with: 'M10', c4: new Uint8Array(40) }),
      nonceOf(m2, { kind: 'answer', with: 'M10', c4: flipped(new Uint8Array(40), 319) }),
      nonceOf(m7, base),
      nonceOf(m7, { ...base, c6: flipped(base.c6, 0) }),
      nonceOf(m7, { ...base, lifetime: 2 }),
      nonceOf(m7, { ...base, applicationRoot: secret(2) }),
    ];
    expect(new Set(nonces).size).toBe(nonces.length);
  });

  it('C5 of a pass-through transaction opens to the server’s RN_c', () => {
    const rnC = derivePassThroughRnC(TK, { ...side.header, body: side });
    expect(openC5(side.context, m5.subarray(9), derivePsk(IK, side.rnI, rnC))).toEqual(rnC);
  });
});
