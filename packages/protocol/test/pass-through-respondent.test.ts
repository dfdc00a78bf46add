// Proves what a pass-through controller does: it goes by what opens, relays M5 it cannot check,
// each in its place and in turn, and the right one from where M1 came from gets through whatever
// others send.

import { describe, expect, it, vi } from 'vitest';
import {
  c4Of,
  c6Of,
  decodeLinkRequest,
  decodeM4,
  encodeM1,
  encodeM5,
  openM4,
  openM6,
  openM7,
  sealM10,
  sealM11,
  sealM3,
  sealM4,
  sealM5,
  sealM6,
  sealM8,
  sealM9,
} from '../src/messages.js';
import { deriveApplicationRoot, deriveKeyId, derivePsk } from '../src/psk.js';
import type { Clocks, LinkDecision, M5Decision, Relay, RespondentBounds } from '../src/decisions.js';
import { Respondent } from '../src/respondent.js';
import { Secret } from '../src/secret.js';
import type { Source } from '../src/source.js';
import type { Transaction } from '../src/open-transaction.js';
import { hex, octets, secret, seededRandomBytes } from './fixtures.js';
import passThrough from './vectors/pass-through.json' with { type: 'json' };

const randomBytes = seededRandomBytes('pass-through respondent');
const [ID_C, NODE] = [1, 0xa1b2];
const [SK_CS, KEY] = [secret(0xcc), secret(0x11)];
const WALL = 1_795_000_000_000;

function after(ms: number): Clocks {
  return { wallMs: WALL + ms, monotonicMs: 5_000_000 + ms };
}

/** Of the network that its address begins with, up to the first dash. */
function from(address: string, addressValidated = true): Source {
  const nid = Uint8Array.from(Buffer.from(address.padEnd(18, '.')));
  return { address, prefix: address.split('-')[0]!, addressValidated, nid };
}

const ORIGIN = from('node');

function controller(bounds: Partial<RespondentBounds> = {}): Respondent {
  let tid = 0n;
  return new Respondent({
    idC: ID_C,
    skCs: SK_CS.copy(),
    bounds: { total: 1000, perSource: 1000, ...bounds },
    randomBytes: seededRandomBytes('controller'),
    nextTid: () => (tid += 1n),
  });
}

/** A transaction at the controller, and what the auth-server knows of it: RN_c' and the keys. */
class PassThrough {
  readonly respondent: Respondent;
  readonly transaction: Transaction;
  readonly m4: Uint8Array;
  readonly psk: Secret;
  /** The node's own. */
  readonly m5: Uint8Array;
  #wrong = 0;

  constructor(respondent: Respondent, source: Source = ORIGIN, idI = NODE) {
    this.respondent = respondent;
    const rnI = randomBytes(16);
    const rnC = randomBytes(16);
    const decision = respondent.receiveM1(encodeM1({ idI, rnI }), source, after(0));
    if (decision.kind !== 'forward') throw new Error(`M1 is not forwarded: ${decision.kind}`);
    this.transaction = decision.transaction;
    const { tid, m1, request } = this.transaction;
    const sealed = sealM4({ idC: ID_C, tid }, { rnI, rnC }, KEY, m1);
    const answer = respondent.receiveLinkAnswer(
      this.transaction,
      sealM10({ c4: c4Of(sealed), idI }, randomBytes(13), request!, SK_CS),
    );
    this.m4 = answered(answer);
    this.psk = derivePsk(KEY, rnI, rnC);
    this.m5 = sealM5({ idC: ID_C, tid, m1Octets: m1 }, rnC, this.psk);
  }

  /** Another wrong M5 each time. */
  wrong(): Uint8Array {
    this.#wrong += 1;
    const c5 = new Uint8Array(24);
    new DataView(c5.buffer).setUint32(0, this.#wrong);
    return encodeM5({ tid: this.transaction.tid, c5 });
  }

  send(m5: Uint8Array, source: Source = ORIGIN, at = after(1)): M5Decision {
    return this.respondent.receiveM5(m5, source, at);
  }

  /** What came of each: `relay`, `challenge`, or the refusal. */
  outcome(m5: Uint8Array, source: Source = ORIGIN, at = after(1)): string {
    const decision = this.send(m5, source, at);
    return decision.kind === 'refuse' ? decision.refusal : decision.kind;
  }

  /** The auth-server's answer to an M7: M11 to the node's own proof, else M9 with that reason. */
  judge({ request }: Pick<Relay, 'request'>, reason = 7): Uint8Array {
    const { c5, m1 } = openM7(decodeLinkRequest(request), SK_CS)!;
    const { tid } = this.transaction;
    if (hex(encodeM5({ tid, c5 })) !== hex(this.m5)) return sealM9({ reason, idI: m1.idI }, randomBytes(13), request, SK_CS);
    const c6 = c6Of(sealM6({ idC: ID_C, tid }, { lifetime: 60 }, this.psk, this.m5));
    const applicationRoot = deriveApplicationRoot(this.psk, m1.idI);
    return sealM11({ c6, idI: m1.idI, lifetime: 60, applicationRoot }, randomBytes(13), request, SK_CS);
  }
}

function answered(decision: M5Decision | LinkDecision): Uint8Array {
  expect(decision).toMatchObject({ kind: 'answer' });
  return (decision as Extract<M5Decision, { kind: 'answer' }>).octets;
}

/**
 * Lets the auth-server answer the relays that are due, and those that follow, until none is; gives
 * all decisions.
 */
function serveAll(respondent: Respondent, all: readonly PassThrough[]): LinkDecision[] {
  const decisions: LinkDecision[] = [];
  for (let relays = respondent.takeRelays(); relays.length > 0; relays = respondent.takeRelays()) {
    for (const relay of relays) {
      const of = all.find(({ transaction }) => transaction === relay.transaction)!;
      decisions.push(respondent.receiveLinkAnswer(relay.transaction, of.judge(relay)));
      respondent.endRelay(relay.proof);
    }
  }
  return decisions;
}

describe('a controller goes by what opens', () => {
  it('after an M10 M4 holds its C4, and M6 the C6 of M11, with the application root that came with it', () => {
    const respondent = controller();
    const through = new PassThrough(respondent);
    const { tid, m1 } = through.transaction;
    expect(openM4(decodeM4(through.m4), KEY, m1)).toBeDefined();
    const decision = through.send(through.m5);
    expect(decision.kind).toBe('relay');
    const [relay, ...rest] = respondent.takeRelays();
    expect(rest).toEqual([]);
    expect(relay!.proof).toBe(decision.kind === 'relay' && decision.proof);
    expect(through.transaction.request).toBe(relay!.request);
    const result = respondent.receiveLinkAnswer(through.transaction, through.judge(relay!));
    respondent.endRelay(relay!.proof);
    expect(openM6({ idC: ID_C, tid }, answered(result), through.psk, through.m5)).toEqual({ lifetime: 60 });
    const applicationRoot = deriveApplicationRoot(through.psk, NODE);
    const keyId = deriveKeyId(applicationRoot, NODE);
    expect(result).toMatchObject({ joined: { idI: NODE, tid, nidI: ORIGIN.nid, applicationRoot, keyId, lifetime: 60 } });
    expect(hex(answered(through.send(through.m5)))).toBe(hex(answered(result)));
    expect(through.outcome(through.wrong())).toBe('proofFailed');
    expect([respondent.takeRelays(), respondent.takeSettled()]).toEqual([[], []]);
  });

  it('a copy of M1 gets the same M4', () => {
    const respondent = controller();
    const through = new PassThrough(respondent);
    expect(hex(answered(respondent.receiveM1(through.transaction.m1, from('x', false), after(1))))).toBe(hex(through.m4));
  });

  it('an M8 is no answer in a pass-through transaction, nor an M11 in one of the draft', () => {
    const respondent = controller();
    const through = new PassThrough(respondent);
    through.send(through.m5);
    const [relay] = respondent.takeRelays();
    const m8 = sealM8({ idI: NODE, lifetime: 60 }, randomBytes(13), relay!.request, SK_CS);
    expect(respondent.receiveLinkAnswer(through.transaction, m8)).toEqual({ kind: 'ignored' });

    const m1 = encodeM1({ idI: 7, rnI: randomBytes(16) });
    const begun = respondent.receiveM1(m1, ORIGIN, after(0));
    if (begun.kind !== 'forward') throw new Error(begun.kind);
    const { transaction } = begun;
    const m4 = respondent.receiveLinkAnswer(
      transaction,
      sealM3({ key: KEY, idI: 7 }, randomBytes(13), transaction.request!, SK_CS),
    );
    const { rnI, rnC } = openM4(decodeM4(answered(m4)), KEY, m1)!;
    const m5 = sealM5({ idC: ID_C, tid: transaction.tid, m1Octets: m1 }, rnC, derivePsk(KEY, rnI, rnC));
    expect(respondent.receiveM5(m5, ORIGIN, after(1))).toMatchObject({ kind: 'forward' });
    const m11 = { c6: new Uint8Array(12), idI: 7, lifetime: 60, applicationRoot: secret(1) };
    const sealed = sealM11(m11, randomBytes(13), transaction.request!, SK_CS);
    expect(respondent.receiveLinkAnswer(transaction, sealed)).toEqual({ kind: 'ignored' });
  });

  it('an M10 or M11 for another node is no answer, and its application root is wiped', () => {
    const respondent = controller();
    const begun = respondent.receiveM1(encodeM1({ idI: 7, rnI: randomBytes(16) }), ORIGIN, after(0));
    if (begun.kind !== 'forward') throw new Error(begun.kind);
    const m10 = sealM10({ c4: new Uint8Array(40), idI: 8 }, randomBytes(13), begun.transaction.request!, SK_CS);
    expect(respondent.receiveLinkAnswer(begun.transaction, m10)).toEqual({ kind: 'ignored' });
    const through = new PassThrough(respondent);
    through.send(through.m5);
    const [relay] = respondent.takeRelays();
    const applicationRoot = secret(1);
    const m11 = sealM11(
      { c6: new Uint8Array(12), idI: 8, lifetime: 60, applicationRoot },
      randomBytes(13),
      relay!.request,
      SK_CS,
    );
    const made = vi.spyOn(Secret, 'from');
    expect(respondent.receiveLinkAnswer(through.transaction, m11)).toEqual({ kind: 'ignored' });
    expect(made.mock.results.map(({ value }) => String(value))).toEqual(['[secret wiped]']);
    made.mockRestore();
  });

  it('no key of the node is ever made: from M1 to M6 the application root is the only secret', () => {
    const respondent = controller();
    const through = new PassThrough(respondent);
    const made = vi.spyOn(Secret, 'from');
    through.send(through.m5);
    const [relay] = respondent.takeRelays();
    const m11 = through.judge(relay!);
    made.mockClear();
    respondent.receiveLinkAnswer(through.transaction, m11);
    expect(made.mock.results.map(({ value }) => value as unknown)).toEqual([deriveApplicationRoot(through.psk, NODE)]);
    made.mockRestore();
  });
});

describe.each(passThrough.vectors)('vector $name', (vector) => {
  it('M4 and M6 are made of M10 and M11, octet for octet', () => {
    const { input } = vector;
    const respondent = new Respondent({
      idC: Number.parseInt(input.ID_c, 16),
      skCs: Secret.fromHex(input.SK_cs),
      bounds: { total: 10, perSource: 10 },
      randomBytes: (n) => (n === 16 ? octets(input.RN_c) : randomBytes(n)),
      nextTid: () => BigInt(`0x${input.TID}`),
    });
    const source = { ...ORIGIN, nid: octets(input.NID_i) };
    const at = { wallMs: Number(BigInt(`0x${input.TS}`)), monotonicMs: 0 };
    const begun = respondent.receiveM1(octets(vector.M1), source, at);
    if (begun.kind !== 'forward') throw new Error(begun.kind);
    const { transaction } = begun;
    const skCs = Secret.fromHex(input.SK_cs);
    // Over this controller's own M2 and M7, whose nonces are its own: what the vector's M10 and M11
    // hold, sealed anew.
    const idI = Number.parseInt(input.ID_i, 16);
    const c4 = octets(vector.M4).subarray(13);
    const m4 = respondent.receiveLinkAnswer(transaction, sealM10({ c4, idI }, randomBytes(13), transaction.request!, skCs));
    expect(hex(answered(m4))).toBe(vector.M4);
    expect(respondent.receiveM5(octets(vector.M5), source, at).kind).toBe('relay');
    const [relay] = respondent.takeRelays();
    expect(openM7(decodeLinkRequest(relay!.request), skCs)).toEqual({
      ...openM7(decodeLinkRequest(octets(vector.M7)), skCs),
    });
    const c6 = octets(vector.M6).subarray(1);
    const applicationRoot = Secret.fromHex(vector.application_root);
    const { lifetime } = input;
    const m11 = sealM11({ c6, idI, lifetime, applicationRoot }, randomBytes(13), relay!.request, skCs);
    const m6 = respondent.receiveLinkAnswer(transaction, m11);
    expect(hex(answered(m6))).toBe(vector.M6);
    expect(m6).toMatchObject({ joined: { applicationRoot, keyId: vector.key_id, lifetime } });
  });
});

describe('places of M5', () => {
  it('one for each network with a proof of its address, two for all without, and one for where M1 came from', () => {
    const through = new PassThrough(controller());
    const wrong = (): Uint8Array => through.wrong();
    expect([through.outcome(wrong(), from('a-1')), through.outcome(wrong(), from('a-2'))]).toEqual(['relay', 'rateLimited']);
    expect(through.outcome(wrong(), from('b-1'))).toBe('relay');
    expect(['c', 'd', 'e'].map((network) => through.outcome(wrong(), from(network, false)))).toEqual([
      'relay',
      'relay',
      'challenge',
    ]);
    // The network that M1 came from, with a proof but from another port; then from the very same.
    expect(through.outcome(wrong(), from('node-2'))).toBe('relay');
    expect(through.outcome(through.m5)).toBe('relay');
    expect(through.outcome(wrong())).toBe('rateLimited');
  });

  it('of the unproven are taken for good, so that each of their M5 costs one relay', () => {
    const respondent = controller();
    const through = new PassThrough(respondent);
    expect(through.outcome(through.wrong(), from('a', false))).toBe('relay');
    expect(serveAll(respondent, [through])).toEqual([{ kind: 'refuse', refusal: 'proofFailed' }]);
    expect(through.outcome(through.wrong(), from('a', false))).toBe('relay');
    serveAll(respondent, [through]);
    expect(through.outcome(through.wrong(), from('a', false))).toBe('challenge');
    expect(through.outcome(through.m5, from('node', false))).toBe('challenge');
    expect(through.outcome(through.m5)).toBe('relay');
  });

  it('of a network are free again after its M5 was judged, until sixteen were wrong', () => {
    const respondent = controller();
    const through = new PassThrough(respondent);
    const outcomes = Array.from({ length: 17 }, (_, i) => {
      const outcome = through.outcome(through.wrong(), from(`a-${i}`));
      serveAll(respondent, [through]);
      return outcome;
    });
    expect(outcomes).toEqual([...Array.from({ length: 16 }, () => 'relay'), 'rateLimited']);
    expect(through.outcome(through.wrong(), from('b'))).toBe('relay');
  });

  it('copies wait with the M5 they are copies of, wherever they come from', () => {
    const respondent = controller();
    const through = new PassThrough(respondent);
    const proofs = [through.m5, Uint8Array.from(through.m5)].flatMap((m5) =>
      [ORIGIN, from('a', false), from('b')].map((source) => {
        const decision = through.send(m5, source);
        return decision.kind === 'relay' ? decision.proof : decision;
      }),
    );
    expect(new Set(proofs).size).toBe(1);
    expect(respondent.takeRelays()).toHaveLength(1);
    const later = through.send(through.m5, from('c'));
    expect(later.kind === 'relay' && later.proof).toBe(proofs[0]);
  });

  it('are bounded for each transaction; the one for where M1 came from is not counted', () => {
    const through = new PassThrough(controller());
    const outcomes = Array.from({ length: 33 }, (_, i) => through.outcome(through.wrong(), from(`n${i}`)));
    expect(outcomes).toEqual([...Array.from({ length: 32 }, () => 'relay'), 'overloaded']);
    expect(through.outcome(through.m5)).toBe('relay');
  });
});

describe('turns', () => {
  it('one M7 of a transaction is under way at a time, and M5 from where M1 came from is the next', () => {
    const respondent = controller();
    const through = new PassThrough(respondent);
    for (let i = 0; i < 10; i++) through.send(through.wrong(), from(`n${i}`));
    const [first, ...none] = respondent.takeRelays();
    expect(none).toEqual([]);
    through.send(through.m5);
    expect(respondent.takeRelays()).toEqual([]);
    expect(respondent.receiveLinkAnswer(through.transaction, through.judge(first!))).toMatchObject({ refusal: 'proofFailed' });
    respondent.endRelay(first!.proof);
    const [second] = respondent.takeRelays();
    expect(answered(respondent.receiveLinkAnswer(through.transaction, through.judge(second!)))).toHaveLength(13);
    respondent.endRelay(second!.proof);
    // The others are wrong, whatever they hold: nobody asks.
    expect(respondent.takeRelays()).toEqual([]);
    const settled = respondent.takeSettled();
    expect(settled).toHaveLength(9);
    for (const { decision } of settled) expect(decision).toEqual({ kind: 'refuse', refusal: 'proofFailed' });
  });

  it('an M5 that waits is the next once it comes from where M1 came from, proven', () => {
    const respondent = controller();
    const through = new PassThrough(respondent);
    for (let i = 0; i < 5; i++) through.send(through.wrong(), from(`network${i}`));
    const [first] = respondent.takeRelays();
    // Without a proof of the address at first, and so the last of all.
    expect([through.outcome(through.m5, from('node', false)), through.outcome(through.m5)]).toEqual(['relay', 'relay']);
    respondent.endRelay(first!.proof);
    const [next] = respondent.takeRelays();
    expect(openM7(decodeLinkRequest(next!.request), SK_CS)!.c5).toEqual(through.m5.subarray(9));
  });

  it('one of a node whose transaction waits in the turn of another network is in the turn of its own', () => {
    const respondent = controller();
    const fillers = Array.from({ length: 256 }, (_, i) => new PassThrough(respondent, from(`filler${i}`), i + 1));
    for (const filler of fillers) filler.send(filler.wrong(), from(`busy${filler.transaction.idI}`));
    const underWay = respondent.takeRelays();
    expect(underWay).toHaveLength(256);
    // One network has wrong M5 waiting for many transactions, that of the node last.
    const others = Array.from({ length: 50 }, (_, i) => new PassThrough(respondent, from(`other${i}`), 1_000 + i));
    const node = new PassThrough(respondent);
    for (const each of [...others, node]) each.send(each.wrong(), from('attacker'));
    node.send(node.m5);
    const [first, second] = underWay;
    respondent.endRelay(first!.proof);
    respondent.endRelay(second!.proof);
    expect(respondent.takeRelays().map(({ transaction }) => transaction.tid)).toContain(node.transaction.tid);
  });

  it('256 M7 are under way at most, and networks take turns', () => {
    const respondent = controller();
    const all = Array.from({ length: 400 }, (_, i) => new PassThrough(respondent, from(`origin${i}`, true), i + 1));
    // One network has an M5 in 300 transactions; others have one in a hundred more.
    for (const through of all.slice(0, 300)) through.send(through.wrong(), from('greedy'));
    const relays = [...respondent.takeRelays()];
    expect(relays).toHaveLength(256);
    for (const through of all.slice(300)) through.send(through.wrong(), from(`modest${through.transaction.idI}`));
    expect(respondent.takeRelays()).toEqual([]);
    for (const { proof } of relays.slice(0, 100)) respondent.endRelay(proof);
    const next = respondent.takeRelays();
    expect(next).toHaveLength(100);
    const networks = next.map(({ transaction }) => (transaction.idI > 300 ? 'modest' : 'greedy'));
    expect(networks.filter((network) => network === 'greedy')).toHaveLength(1);
  });

  it('a right M5 gets through a thousand forged ones a second from ten thousand networks', () => {
    const respondent = controller();
    const through = new PassThrough(respondent);
    let joined = false;
    for (let i = 0; i < 5_000 && !joined; i++) {
      for (let n = 0; n < 4; n++) through.send(through.wrong(), from(`n${(4 * i + n) % 10_000}`, n % 2 === 0), after(i));
      if (i === 4_000) through.send(through.m5, ORIGIN, after(i));
      const [relay] = respondent.takeRelays();
      if (relay === undefined) continue;
      joined = respondent.receiveLinkAnswer(through.transaction, through.judge(relay)).kind === 'answer';
      respondent.endRelay(relay.proof);
      if (i > 4_001) throw new Error('the right M5 waits for more than one other');
    }
    expect(joined).toBe(true);
  });
});

describe('refusals', () => {
  it('reason 7 never drops the transaction, and a copy of what was wrong is not relayed again', () => {
    const respondent = controller();
    const through = new PassThrough(respondent);
    const wrong = through.wrong();
    through.send(wrong, from('a'));
    expect(serveAll(respondent, [through])).toEqual([{ kind: 'refuse', refusal: 'proofFailed' }]);
    expect(through.outcome(wrong, from('b'))).toBe('proofFailed');
    expect(respondent.takeRelays()).toEqual([]);
    through.send(through.m5);
    expect(serveAll(respondent, [through])).toMatchObject([{ kind: 'answer' }]);
  });

  it('eight wrong M5 are remembered', () => {
    const respondent = controller();
    const through = new PassThrough(respondent);
    const wrong = Array.from({ length: 9 }, () => through.wrong());
    for (const [i, m5] of wrong.entries()) {
      through.send(m5, from(`n${i}`));
      serveAll(respondent, [through]);
    }
    expect(wrong.map((m5, i) => through.outcome(m5, from(`m${i}`)))).toEqual([
      'relay',
      ...Array.from({ length: 8 }, () => 'proofFailed'),
    ]);
  });

  it.each([8, 9])('reason %i leaves the transaction open, and the same M5 may be relayed again', (reason) => {
    const respondent = controller();
    const through = new PassThrough(respondent);
    const m5 = through.wrong();
    through.send(m5);
    const [relay] = respondent.takeRelays();
    expect(respondent.receiveLinkAnswer(through.transaction, through.judge(relay!, reason)).kind).toBe('refuse');
    respondent.endRelay(relay!.proof);
    expect(through.outcome(m5)).toBe('relay');
    expect(respondent.takeRelays()).toHaveLength(1);
  });

  it.each([
    [1, 'unknownNode'],
    [2, 'notAssigned'],
    [3, 'disabled'],
    [5, 'expired'],
    [6, 'clock'],
  ])('reason %i ends the transaction, for all that wait', (reason, refusal) => {
    const respondent = controller();
    const through = new PassThrough(respondent);
    through.send(through.wrong(), from('a'));
    through.send(through.wrong(), from('b'));
    const [relay] = respondent.takeRelays();
    expect(respondent.receiveLinkAnswer(through.transaction, through.judge(relay!, reason))).toEqual({ kind: 'refuse', refusal });
    respondent.endRelay(relay!.proof);
    expect(respondent.takeSettled()).toMatchObject([{ decision: { kind: 'refuse', refusal } }]);
    expect([respondent.takeRelays(), respondent.pendingCount]).toEqual([[], 0]);
    expect(through.outcome(through.m5)).toBe('noTransaction');
  });

  it('without an answer the M5 may be sent again', () => {
    const respondent = controller();
    const through = new PassThrough(respondent);
    through.send(through.m5);
    const [relay] = respondent.takeRelays();
    respondent.endRelay(relay!.proof);
    through.send(through.m5);
    expect(serveAll(respondent, [through])).toMatchObject([{ kind: 'answer' }]);
  });

  it('a transaction that expires tells those who wait, and what is under way comes to nothing', () => {
    const respondent = controller();
    const through = new PassThrough(respondent);
    through.send(through.m5, from('a'));
    through.send(through.wrong(), from('b'));
    const [relay] = respondent.takeRelays();
    const m11 = through.judge(relay!);
    respondent.expire(after(60_000).monotonicMs);
    expect(respondent.takeSettled()).toMatchObject([{ decision: { kind: 'unknown-transaction' } }]);
    expect(respondent.receiveLinkAnswer(through.transaction, m11)).toEqual({ kind: 'unknown-transaction' });
    respondent.endRelay(relay!.proof);
    expect(respondent.takeRelays()).toEqual([]);
  });

  it('one where an M5 waits makes room last', () => {
    const respondent = controller();
    const [waiting, idle] = [new PassThrough(respondent), new PassThrough(respondent, from('node-b'))];
    const others = [new PassThrough(respondent, from('node-c')), new PassThrough(respondent, from('node-d'))];
    expect(others.map(({ transaction }) => transaction.tid)).toEqual([3n, 4n]);
    waiting.send(waiting.m5);
    expect(respondent.receiveM1(encodeM1({ idI: NODE, rnI: randomBytes(16) }), from('other'), after(1)).kind).toBe('forward');
    expect(idle.outcome(idle.m5)).toBe('noTransaction');
    expect(serveAll(respondent, [waiting])).toMatchObject([{ kind: 'answer' }]);
  });
});
