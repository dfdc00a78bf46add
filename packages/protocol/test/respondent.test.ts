// Proves what the controller answers to every M1 and M5, that its bounds hold whoever sends what
// (invariant 7), that forged messages keep no node out, and that it wipes every key it does not
// hand over.

import * as fc from 'fast-check';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { TYPE } from '../src/constants.js';
import { refusalFromReason } from '../src/errors.js';
import {
  decodeLinkRequest,
  decodeM1,
  decodeM4,
  encodeM1,
  openM2,
  openM4,
  openM6,
  openM7,
  sealM3,
  sealM5,
  sealM8,
  sealM9,
} from '../src/messages.js';
import { deriveApplicationRoot, deriveKeyId, derivePsk } from '../src/psk.js';
import type { LinkDecision, M5Decision, Clocks, RespondentBounds } from '../src/decisions.js';
import { Respondent } from '../src/respondent.js';
import type { Transaction } from '../src/open-transaction.js';
import { Secret } from '../src/secret.js';
import type { Source } from '../src/source.js';
import { seededRandomBytes, flipped, hex, secret } from './fixtures.js';

const randomBytes = seededRandomBytes('respondent');
const ID_C = 1;
const NODE = 0xa1b2;
const SK_CS = secret(0xcc);
const KEY = secret(0x11);
const WALL = 1_795_000_000_000;
const START = 5_000_000;

afterEach(() => {
  vi.restoreAllMocks();
});

function after(ms: number): Clocks {
  return { wallMs: WALL + ms, monotonicMs: START + ms };
}

function from(address: string, proven = false, network = address): Source {
  return { address, prefix: network, addressValidated: proven, nid: Uint8Array.from(Buffer.from(address.padEnd(18, '.'))) };
}

/** A controller, how many TIDs it has taken, and a switch that leaves it without. */
function controller(bounds: Partial<RespondentBounds> = {}) {
  let tid = 0n;
  const tids = { available: true };
  const respondent = new Respondent({
    idC: ID_C,
    skCs: SK_CS.copy(),
    bounds: { total: 1000, perSource: 1000, ...bounds },
    randomBytes: seededRandomBytes('controller'),
    nextTid: () => {
      if (!tids.available) return undefined;
      tid += 1n;
      return tid;
    },
  });
  return { respondent, tids, tidsTaken: () => Number(tid) };
}

function newM1(idI = NODE): Uint8Array {
  return encodeM1({ idI, rnI: randomBytes(16) });
}

function forwarded(decision: M5Decision): Transaction & { readonly request: Uint8Array } {
  expect(decision).toMatchObject({ kind: 'forward' });
  return (decision as Extract<M5Decision, { kind: 'forward' }>).transaction as Transaction & { readonly request: Uint8Array };
}

function answered(decision: M5Decision | LinkDecision): Uint8Array {
  expect(decision).toMatchObject({ kind: 'answer' });
  return (decision as Extract<M5Decision, { kind: 'answer' }>).octets;
}

interface LinkTerms {
  readonly idI?: number;
  readonly request?: Uint8Array | undefined;
  readonly key?: Secret;
}

/** What the auth-server says to the request a transaction has out, or to something else. */
const link = {
  m3: (t: Transaction, { idI = t.idI, request = t.request, key = KEY }: LinkTerms = {}): Uint8Array =>
    sealM3({ key, idI }, randomBytes(13), request!, SK_CS),
  m8: (t: Transaction, lifetime = 3600, { idI = t.idI, request = t.request }: LinkTerms = {}): Uint8Array =>
    sealM8({ idI, lifetime }, randomBytes(13), request!, SK_CS),
  m9: (t: Transaction, reason: number, { idI = t.idI, request = t.request }: LinkTerms = {}): Uint8Array =>
    sealM9({ idI, reason }, randomBytes(13), request!, SK_CS),
};

/** The node's M5 to an M4. */
function m5To(m4Octets: Uint8Array, m1: Uint8Array, key = KEY): Uint8Array {
  const m4 = decodeM4(m4Octets);
  const { rnI, rnC } = openM4(m4, key, m1)!;
  const psk = derivePsk(key, rnI, rnC);
  const m5 = sealM5({ ...m4, m1Octets: m1 }, rnC, psk);
  psk.wipe();
  return m5;
}

/** `m5` with one bit of its C5 changed: another one for each `n`. */
function wrong(m5: Uint8Array, n: number): Uint8Array {
  return flipped(m5, 72 + n);
}

/**
 * Whether the transaction is still there: asked with an answer that is none, which changes nothing.
 */
function isRemembered(respondent: Respondent, transaction: Transaction): boolean {
  return respondent.receiveLinkAnswer(transaction, new Uint8Array(0)).kind !== 'unknown-transaction';
}

function tryM1(respondent: Respondent, idI: number, source: Source): M5Decision {
  return respondent.receiveM1(newM1(idI), source, after(1));
}

/**
 * Every Secret the controller makes while `run` runs, and which of them are not wiped afterwards.
 */
function unwiped(run: (respondent: Respondent) => void): string[] {
  const { respondent } = controller();
  const made = vi.spyOn(Secret, 'from');
  run(respondent);
  expect(made).toHaveBeenCalled();
  return made.mock.results.map(({ value }) => String(value)).filter((shown) => shown !== '[secret wiped]');
}

interface Step {
  readonly idI?: number;
  readonly source?: Source;
  readonly at?: Clocks;
}

/** Brings a new transaction to M2, to M4, to M7, to M6. */
const reach = {
  awaitingM3(respondent: Respondent, { idI = NODE, source = from('node'), at = after(0) }: Step = {}) {
    const m1 = newM1(idI);
    return { m1, source, at, transaction: forwarded(respondent.receiveM1(m1, source, at)) };
  },
  awaitingM5(respondent: Respondent, step: Step = {}) {
    const reached = reach.awaitingM3(respondent, step);
    const m4 = answered(respondent.receiveLinkAnswer(reached.transaction, link.m3(reached.transaction)));
    return { ...reached, m4, m5: m5To(m4, reached.m1) };
  },
  awaitingM8(respondent: Respondent, step: Step = {}) {
    const reached = reach.awaitingM5(respondent, step);
    forwarded(respondent.receiveM5(reached.m5, reached.source, reached.at));
    return reached;
  },
  completed(respondent: Respondent, step: Step = {}) {
    const reached = reach.awaitingM8(respondent, step);
    const decision = respondent.receiveLinkAnswer(reached.transaction, link.m8(reached.transaction));
    return { ...reached, decision, m6: answered(decision) };
  },
};

describe('M1', () => {
  it('opens a transaction: M2 bears ID_c, a new TID, RN_c, the wall clock as TS, and M1', () => {
    const { respondent } = controller();
    const { m1, transaction } = reach.awaitingM3(respondent, { at: after(7) });
    const request = decodeLinkRequest(transaction.request);
    expect(request).toMatchObject({ type: 'M2', idC: ID_C, tid: 1n });
    expect(openM2(request, SK_CS)).toMatchObject({ ts: BigInt(WALL + 7), m1Octets: m1, m1: decodeM1(m1) });
    expect(transaction).toMatchObject({ idI: NODE, tid: 1n, ts: BigInt(WALL + 7), m1 });
  });

  it('copies join the transaction, from wherever: the same M2, then the same M4, octet for octet', () => {
    const { respondent, tidsTaken } = controller();
    const { m1, transaction } = reach.awaitingM3(respondent);
    const m2 = hex(transaction.request);
    for (const source of [from('node'), from('elsewhere'), from('node', true)]) {
      const copy = forwarded(respondent.receiveM1(Uint8Array.from(m1), source, after(10)));
      expect([copy.tid, hex(copy.request)]).toEqual([transaction.tid, m2]);
    }
    const m4 = answered(respondent.receiveLinkAnswer(transaction, link.m3(transaction)));
    expect(answered(respondent.receiveM1(m1, from('elsewhere'), after(20)))).toEqual(m4);
    expect(tidsTaken()).toBe(1);
  });

  it('copies get the same M4 after M5 and after M6 too', () => {
    const { respondent } = controller();
    const committing = reach.awaitingM8(respondent);
    const joined = reach.completed(respondent, { idI: 2 });
    for (const { m1, m4, source } of [committing, joined])
      expect(answered(respondent.receiveM1(m1, source, after(30)))).toEqual(m4);
  });

  it.each([
    ['nothing', new Uint8Array(0)],
    ['20 octets', newM1().subarray(1)],
    ['an M2 for an M1', Uint8Array.of(TYPE.M2, ...newM1().subarray(1))],
  ])('%s is malformed and leaves nothing', (_, octets) => {
    const { respondent, tidsTaken } = controller();
    expect(respondent.receiveM1(octets, from('node'), after(0))).toEqual({ kind: 'refuse', refusal: 'malformed' });
    expect([respondent.pendingCount, tidsTaken()]).toEqual([0, 0]);
  });

  it('is refused as overload where no TID can be had', () => {
    const { respondent, tids } = controller();
    tids.available = false;
    expect(respondent.receiveM1(newM1(), from('node'), after(0))).toEqual({ kind: 'refuse', refusal: 'overloaded' });
    expect(respondent.pendingCount).toBe(0);
  });

  it('that would evict another evicts nothing where no TID can be had', () => {
    const { respondent, tids } = controller();
    const source = from('node', true);
    const four = Array.from({ length: 4 }, () => reach.awaitingM5(respondent, { source }));
    tids.available = false;
    expect(tryM1(respondent, NODE, source)).toEqual({ kind: 'refuse', refusal: 'overloaded' });
    expect(respondent.pendingCount).toBe(4);
    expect(four.filter(({ transaction }) => !isRemembered(respondent, transaction))).toEqual([]);
    tids.available = true;
    expect(tryM1(respondent, NODE, source).kind).toBe('forward');
    expect(four.map(({ m5 }) => respondent.receiveM5(m5, source, after(1)).kind)).toEqual([
      'refuse',
      'forward',
      'forward',
      'forward',
    ]);
  });

  it('does not change with the datagram it came in', () => {
    const { respondent } = controller();
    const datagram = Buffer.from(newM1());
    const m1 = Uint8Array.from(datagram);
    const transaction = forwarded(respondent.receiveM1(datagram, from('node'), after(0)));
    datagram.fill(0);
    expect(transaction.m1).toEqual(m1);
    expect(openM4(decodeM4(answered(respondent.receiveLinkAnswer(transaction, link.m3(transaction)))), KEY, m1)).toBeDefined();
  });
});

describe('M3', () => {
  it("gives M4 under this transaction's K_i, with its RN_i and RN_c", () => {
    const { respondent } = controller();
    const { m1, transaction } = reach.awaitingM3(respondent);
    const { rnC } = openM2(decodeLinkRequest(transaction.request), SK_CS)!;
    const m4 = decodeM4(answered(respondent.receiveLinkAnswer(transaction, link.m3(transaction, { key: secret(0x42) }))));
    expect(m4).toMatchObject({ idC: ID_C, tid: transaction.tid });
    expect(openM4(m4, secret(0x42), m1)).toEqual({ rnI: decodeM1(m1).rnI, rnC });
  });

  it('counts once: a second one, under another key, changes nothing', () => {
    const { respondent } = controller();
    const { transaction } = reach.awaitingM3(respondent);
    const [first, second] = [link.m3(transaction), link.m3(transaction, { key: secret(0x42) })];
    const m4 = answered(respondent.receiveLinkAnswer(transaction, first));
    expect(answered(respondent.receiveLinkAnswer(transaction, second))).toEqual(m4);
  });

  it.each<[string, (transaction: Transaction, other: Transaction) => Uint8Array]>([
    ['nothing', () => new Uint8Array(0)],
    ['an M3 with a flipped tag', (transaction) => flipped(link.m3(transaction), 42 * 8 - 1)],
    ['an M3 for the M2 of another transaction', (_, other) => link.m3(other)],
    ['an M3 for another node', (transaction) => link.m3(transaction, { idI: NODE + 1 })],
    ['an M9 for another node', (transaction) => link.m9(transaction, 1, { idI: NODE + 1 })],
    ['an M9 with reason 0', (transaction) => link.m9(transaction, 0)],
    ['an M9 with reason 10', (transaction) => link.m9(transaction, 10)],
    ['an M8', (transaction) => link.m8(transaction)],
  ])('%s is no answer to M2', (_, answer) => {
    const { respondent } = controller();
    const { transaction } = reach.awaitingM3(respondent);
    const other = reach.awaitingM3(respondent, { idI: NODE + 1 }).transaction;
    expect(respondent.receiveLinkAnswer(transaction, answer(transaction, other))).toEqual({ kind: 'ignored' });
    expect(respondent.receiveLinkAnswer(transaction, link.m3(transaction)).kind).toBe('answer');
  });
});

describe('M5', () => {
  const noTransaction = { kind: 'refuse', refusal: 'noTransaction' };
  const proofFailed = { kind: 'refuse', refusal: 'proofFailed' };

  it('gives M7 with RN_c, TS, M1, C5 and the source of the first right one as NID_i', () => {
    const { respondent } = controller();
    const { m1, m4, m5, transaction } = reach.awaitingM5(respondent);
    const { rnC } = openM4(decodeM4(m4), KEY, m1)!;
    const roaming = from('roaming');
    const { request } = forwarded(respondent.receiveM5(m5, roaming, after(900)));
    const m7 = decodeLinkRequest(request);
    expect(m7).toMatchObject({ type: 'M7', idC: ID_C, tid: transaction.tid });
    expect(openM7(m7, SK_CS)).toEqual({
      rnC,
      ts: transaction.ts,
      m1: decodeM1(m1),
      m1Octets: m1,
      nidI: roaming.nid,
      c5: m5.subarray(9),
    });
  });

  it('is expected once, from where M1 came, and from nowhere else', () => {
    const { respondent } = controller();
    const { m5, source } = reach.awaitingM5(respondent);
    expect(respondent.expectsM5(m5, source)).toBe(true);
    expect(respondent.expectsM5(wrong(m5, 0), from('elsewhere'))).toBe(false);
    respondent.receiveM5(wrong(m5, 0), from('elsewhere'), after(1));
    expect(respondent.expectsM5(m5, source)).toBe(true);
    respondent.receiveM5(wrong(m5, 0), source, after(1));
    expect(respondent.expectsM5(m5, source)).toBe(false);
    // The right one counts all the same.
    forwarded(respondent.receiveM5(m5, source, after(1)));
  });

  it('is expected of no transaction that has no M4, or is through, or is not there', () => {
    const { respondent } = controller();
    const { m4, m5, source } = reach.awaitingM5(controller().respondent);
    expect(respondent.expectsM5(m5, source)).toBe(false);
    const early = reach.awaitingM3(respondent, { source });
    expect(early.transaction.tid).toBe(decodeM4(m4).tid);
    expect(respondent.expectsM5(m5, source)).toBe(false);
    const through = reach.completed(respondent, { source, idI: NODE + 1 });
    expect(respondent.expectsM5(through.m5, source)).toBe(false);
    expect(respondent.expectsM5(through.m1, source)).toBe(false);
    expect(respondent.expectsM5(m5.subarray(1), source)).toBe(false);
  });

  it('before M3, or for a TID that is not open, names no transaction', () => {
    const { respondent } = controller();
    const { transaction } = reach.awaitingM3(respondent);
    const m5 = sealM5({ idC: ID_C, tid: transaction.tid, m1Octets: transaction.m1 }, randomBytes(16), KEY);
    expect(respondent.receiveM5(m5, from('node'), after(1))).toEqual(noTransaction);
    expect(respondent.receiveM5(flipped(m5, 71), from('node'), after(1))).toEqual(noTransaction);
    expect(respondent.receiveLinkAnswer(transaction, link.m3(transaction)).kind).toBe('answer');
  });

  it.each([
    ['nothing', new Uint8Array(0)],
    ['32 octets', new Uint8Array(32).fill(TYPE.M5)],
    ['an M1', newM1()],
  ])('%s is malformed', (_, octets) => {
    const { respondent } = controller();
    expect(respondent.receiveM5(octets, from('node'), after(0))).toEqual({ kind: 'refuse', refusal: 'malformed' });
  });

  it.each(['awaitingM5', 'awaitingM8', 'completed'] as const)('a wrong one when %s is refused and changes nothing', (phase) => {
    const { respondent } = controller();
    const { m5, transaction, source, at } = reach[phase](respondent);
    const request = transaction.request;
    expect(respondent.receiveM5(flipped(m5, 33 * 8 - 1), source, at)).toEqual(proofFailed);
    expect(transaction.request).toEqual(request);
    expect(respondent.receiveM5(m5, source, at).kind).toBe(phase === 'completed' ? 'answer' : 'forward');
  });

  it('under the right PSK but with another RN_c inside is no proof', () => {
    const { respondent } = controller();
    const { m1, m4, source, at } = reach.awaitingM5(respondent);
    const { tid } = decodeM4(m4);
    const { rnI, rnC } = openM4(decodeM4(m4), KEY, m1)!;
    const m5 = sealM5({ idC: ID_C, tid, m1Octets: m1 }, flipped(rnC, 0), derivePsk(KEY, rnI, rnC));
    expect(respondent.receiveM5(m5, source, at)).toEqual(proofFailed);
  });

  it('copies repeat M7 octet for octet, and NID_i stays the first', () => {
    const { respondent } = controller();
    const { m5 } = reach.awaitingM5(respondent);
    const m7 = hex(forwarded(respondent.receiveM5(m5, from('first'), after(1))).request);
    const copy = forwarded(respondent.receiveM5(Uint8Array.from(m5), from('second'), after(2)));
    expect(hex(copy.request)).toBe(m7);
    expect(openM7(decodeLinkRequest(copy.request), SK_CS)?.nidI).toEqual(from('first').nid);
  });

  it('copies after M8 get the same M6 octet for octet, from wherever', () => {
    const { respondent } = controller();
    const { m5, m6 } = reach.completed(respondent);
    for (const source of [from('node'), from('elsewhere')])
      expect(answered(respondent.receiveM5(m5, source, after(3)))).toEqual(m6);
  });

  it('the proof of one transaction is none for another of the same node', () => {
    const { respondent } = controller();
    const first = reach.awaitingM5(respondent);
    const second = reach.awaitingM5(respondent, { source: from('node', true) });
    const spliced = Uint8Array.from([...second.m5.subarray(0, 9), ...first.m5.subarray(9)]);
    expect(respondent.receiveM5(spliced, from('node'), after(0))).toEqual(proofFailed);
  });
});

/** A controller that has had an M4 answered with wrong M5s from `source`. */
function afterWrong(times: number, source: Source) {
  const { respondent } = controller();
  const reached = reach.awaitingM5(respondent);
  for (let n = 0; n < times; n++)
    expect(respondent.receiveM5(wrong(reached.m5, n), source, after(n))).toMatchObject({ refusal: 'proofFailed' });
  return { respondent, ...reached };
}

describe('wrong M5s count against their source alone', () => {
  it('16 are judged; then an unproven source must prove its address, and gets on once it has', () => {
    const { respondent, m5 } = afterWrong(16, from('x'));
    expect(respondent.receiveM5(m5, from('x'), after(20))).toEqual({ kind: 'challenge' });
    expect(respondent.receiveM5(m5, from('x', true), after(20)).kind).toBe('forward');
  });

  it('15 are not too many', () => {
    const { respondent, m5 } = afterWrong(15, from('x'));
    expect(respondent.receiveM5(m5, from('x'), after(20)).kind).toBe('forward');
  });

  it('a proven source is refused', () => {
    const { respondent, m5 } = afterWrong(16, from('x', true));
    expect(respondent.receiveM5(m5, from('x', true), after(20))).toEqual({ kind: 'refuse', refusal: 'rateLimited' });
    expect(respondent.receiveM5(m5, from('y', true), after(20)).kind).toBe('forward');
  });

  it('what is forged in the name of a source does not count against it once proven', () => {
    const { respondent, m5 } = afterWrong(16, from('node'));
    expect(respondent.receiveM5(m5, from('other'), after(20)).kind).toBe('forward');
    expect(respondent.receiveM5(m5, from('node', true), after(20)).kind).toBe('forward');
  });

  it.each([false, true])('by the address, not by its network (proven: %s)', (proven) => {
    const { respondent, m5 } = afterWrong(16, from('x1', proven, 'x'));
    expect(respondent.receiveM5(m5, from('x1', proven, 'x'), after(20)).kind).not.toBe('forward');
    expect(respondent.receiveM5(m5, from('x2', proven, 'x'), after(20)).kind).toBe('forward');
  });

  it.each([
    { phase: 'awaitingM8', proven: false, answer: 'forward' },
    { phase: 'awaitingM8', proven: true, answer: 'forward' },
    { phase: 'completed', proven: false, answer: 'answer' },
    { phase: 'completed', proven: true, answer: 'answer' },
  ] as const)('a copy of the right one is taken all the same, $phase, proven: $proven', ({ phase, proven, answer }) => {
    const { respondent } = controller();
    const { m5 } = reach[phase](respondent);
    const toCopy = respondent.receiveM5(m5, from('elsewhere'), after(0));
    expect(toCopy.kind).toBe(answer);
    const source = from('x', proven);
    for (let n = 0; n < 16; n++)
      expect(respondent.receiveM5(wrong(m5, n), source, after(n))).toMatchObject({ refusal: 'proofFailed' });
    const limited = proven ? { kind: 'refuse', refusal: 'rateLimited' } : { kind: 'challenge' };
    expect(respondent.receiveM5(wrong(m5, 16), source, after(20))).toEqual(limited);
    expect(respondent.receiveM5(Uint8Array.from(m5), source, after(20))).toEqual(toCopy);
  });

  it('right ones do not count, however often they are repeated', () => {
    const { respondent } = controller();
    const { m5, source, at } = reach.completed(respondent);
    const kinds = Array.from({ length: 20 }, () => respondent.receiveM5(m5, source, at).kind);
    expect(new Set(kinds)).toEqual(new Set(['answer']));
  });

  it('1024 sources are remembered; one more takes the place of the first', () => {
    const { respondent, m5 } = afterWrong(16, from('x'));
    const fromOthers = (count: number): string => {
      for (let n = 0; n < count; n++) respondent.receiveM5(wrong(m5, 0), from(`${count} ${n}`), after(20));
      return respondent.receiveM5(m5, from('x'), after(20)).kind;
    };
    expect([fromOthers(1023), fromOthers(1)]).toEqual(['challenge', 'forward']);
  });

  it.each([false, true])('sources of one kind push out none of the other (proven: %s)', (proven) => {
    const { respondent, m5 } = afterWrong(16, from('x', proven));
    const before = respondent.receiveM5(m5, from('x', proven), after(20));
    expect(before.kind).not.toBe('forward');
    for (let n = 0; n < 2000; n++) respondent.receiveM5(wrong(m5, 0), from(`other ${n}`, !proven), after(20));
    expect(respondent.receiveM5(m5, from('x', proven), after(20))).toEqual(before);
  });

  it('after 60 s it is forgotten', () => {
    const { respondent } = afterWrong(16, from('x'));
    const late = (ms: number): string => {
      const { m5 } = reach.awaitingM5(respondent, { source: from('y', true), at: after(ms) });
      return respondent.receiveM5(m5, from('x'), after(ms)).kind;
    };
    expect([late(59_999), late(60_000)]).toEqual(['challenge', 'forward']);
  });
});

describe('M8', () => {
  it('gives M6 with the lifetime, and the application root with all that the store keeps, once', () => {
    const { respondent } = controller();
    const { m4, m5, m1, transaction, source } = reach.awaitingM8(respondent);
    const m8 = link.m8(transaction, 86_400);
    const decision = respondent.receiveLinkAnswer(transaction, m8);
    const opened = openM4(decodeM4(m4), KEY, m1)!;
    const psk = derivePsk(KEY, opened.rnI, opened.rnC);
    const { idI, tid, ts } = transaction;
    const applicationRoot = deriveApplicationRoot(psk, idI);
    const keyId = deriveKeyId(applicationRoot, idI);
    expect(decision).toMatchObject({ joined: { idI, tid, ts, nidI: source.nid, applicationRoot, keyId, lifetime: 86_400 } });
    expect(openM6({ idC: ID_C, tid }, answered(decision), psk, m5)).toEqual({ lifetime: 86_400 });
    expect(respondent.receiveLinkAnswer(transaction, m8)).toEqual({ kind: 'answer', octets: answered(decision) });
  });

  it.each<[string, (transaction: Transaction, m2: Uint8Array) => Uint8Array]>([
    ['nothing', () => new Uint8Array(0)],
    ['an M8 with a flipped tag', (transaction) => flipped(link.m8(transaction), 30 * 8 - 1)],
    ['an M8 for another node', (transaction) => link.m8(transaction, 3600, { idI: NODE + 1 })],
    ['an M9 for another node', (transaction) => link.m9(transaction, 7, { idI: NODE + 1 })],
    ['an M3 for M7', (transaction) => link.m3(transaction)],
    ['a late M3 for M2', (transaction, request) => link.m3(transaction, { request })],
    ['a late M9 for M2', (transaction, request) => link.m9(transaction, 1, { request })],
  ])('%s is no answer to M7', (_, answer) => {
    const { respondent } = controller();
    const { m1, transaction } = reach.awaitingM3(respondent);
    const m2 = transaction.request;
    const m4 = answered(respondent.receiveLinkAnswer(transaction, link.m3(transaction)));
    forwarded(respondent.receiveM5(m5To(m4, m1), from('node'), after(0)));
    expect(respondent.receiveLinkAnswer(transaction, answer(transaction, m2))).toEqual({ kind: 'ignored' });
    expect(respondent.receiveLinkAnswer(transaction, link.m8(transaction)).kind).toBe('answer');
  });

  it('for a transaction that is gone is dropped', () => {
    const { respondent } = controller();
    const { transaction } = reach.awaitingM8(respondent);
    const m8 = link.m8(transaction);
    respondent.expire(START + 60_000);
    expect(respondent.receiveLinkAnswer(transaction, m8)).toEqual({ kind: 'unknown-transaction' });
  });

  it('for a transaction of another controller with the same TID is dropped', () => {
    const [mine, theirs] = [controller().respondent, controller().respondent];
    const { transaction } = reach.awaitingM8(theirs);
    reach.awaitingM8(mine);
    expect(mine.receiveLinkAnswer(transaction, link.m8(transaction))).toEqual({ kind: 'unknown-transaction' });
  });
});

describe('M9', () => {
  const reasons = [1, 2, 3, 4, 5, 6, 7, 8, 9].map((reason) => ({
    reason,
    refusal: refusalFromReason(reason)!,
    kept: reason >= 8 ? 'stays open' : 'is forgotten',
  }));

  it.each(reasons)('reason $reason to M2: the transaction $kept', ({ reason, refusal, kept }) => {
    const { respondent, tidsTaken } = controller();
    const { m1, transaction } = reach.awaitingM3(respondent);
    expect(respondent.receiveLinkAnswer(transaction, link.m9(transaction, reason))).toEqual({ kind: 'refuse', refusal });
    const copy = forwarded(respondent.receiveM1(m1, from('node'), after(1)));
    expect([copy.tid === transaction.tid, tidsTaken(), respondent.pendingCount]).toEqual(
      kept === 'stays open' ? [true, 1, 1] : [false, 2, 1],
    );
  });

  it.each(reasons)('reason $reason to M7: the transaction $kept', ({ reason, refusal, kept }) => {
    const { respondent } = controller();
    const { m5, transaction } = reach.awaitingM8(respondent);
    const request = Uint8Array.from(transaction.request);
    expect(respondent.receiveLinkAnswer(transaction, link.m9(transaction, reason))).toEqual({ kind: 'refuse', refusal });
    const again = { kind: 'forward', transaction: { request } };
    const gone = { kind: 'refuse', refusal: 'noTransaction' };
    const copy = respondent.receiveM5(m5, from('node'), after(1));
    expect(copy).toMatchObject(kept === 'stays open' ? again : gone);
  });
});

describe('a transaction lives 60 s from its first M1', () => {
  it.each(['awaitingM5', 'awaitingM8', 'completed'] as const)('%s: M5 is taken at 59,999 ms, not at 60,000', (phase) => {
    const { respondent } = controller();
    const { m5 } = reach[phase](respondent);
    expect(respondent.receiveM5(m5, from('node'), after(59_999)).kind).not.toBe('refuse');
    expect(respondent.receiveM5(m5, from('node'), after(60_000))).toEqual({ kind: 'refuse', refusal: 'noTransaction' });
    expect(respondent.pendingCount).toBe(0);
  });

  it('copies do not prolong it, and then open a new one', () => {
    const { respondent } = controller();
    const { m1, transaction } = reach.awaitingM3(respondent);
    expect(forwarded(respondent.receiveM1(m1, from('node'), after(59_999))).tid).toBe(transaction.tid);
    expect(forwarded(respondent.receiveM1(m1, from('node'), after(60_000))).tid).not.toBe(transaction.tid);
  });

  it('through: a copy of M1 gets its M4 at 59,999 ms, and at 60,000 opens a new one', () => {
    const { respondent } = controller();
    const { m1, m4 } = reach.completed(respondent);
    expect(answered(respondent.receiveM1(m1, from('node'), after(59_999)))).toEqual(m4);
    expect(respondent.receiveM1(m1, from('node'), after(60_000)).kind).toBe('forward');
  });

  it('one that is through ends alone: what was opened after it stays open and counted', () => {
    const { respondent } = controller();
    reach.completed(respondent, { idI: 1 });
    const { m5 } = reach.awaitingM5(respondent, { idI: 2, at: after(1) });
    respondent.expire(START + 60_000);
    expect(respondent.pendingCount).toBe(1);
    expect(respondent.receiveM5(m5, from('node'), after(60_000)).kind).toBe('forward');
    respondent.expire(START + 60_001);
    expect(respondent.pendingCount).toBe(0);
  });

  it('by the steady clock, whatever the wall clock does', () => {
    const { respondent } = controller();
    const { m5 } = reach.awaitingM5(respondent);
    expect(respondent.receiveM5(m5, from('node'), { wallMs: WALL + 9e9, monotonicMs: START + 59_999 }).kind).toBe('forward');
  });

  it('what goes makes room in every bound', () => {
    const { respondent } = controller({ total: 2, perSource: 2 });
    const source = from('node', true);
    for (const at of [after(0), after(60_000), after(120_000)]) {
      reach.awaitingM3(respondent, { source, at });
      reach.awaitingM3(respondent, { source, at });
      expect(respondent.pendingCount).toBe(2);
    }
  });
});

describe('bounds', () => {
  const challenge = { kind: 'challenge' };

  it('from half the total on, an unproven M1 must prove its address, and nothing is remembered of it', () => {
    const { respondent, tidsTaken } = controller({ total: 8 });
    for (let n = 0; n < 4; n++) forwarded(tryM1(respondent, n, from(`${n}`)));
    expect(tryM1(respondent, 4, from('4'))).toEqual(challenge);
    expect([respondent.pendingCount, tidsTaken()]).toEqual([4, 4]);
  });

  it('proven ones fill the total; then a node without a transaction is refused as overload', () => {
    const { respondent } = controller({ total: 8 });
    for (let n = 0; n < 8; n++) forwarded(tryM1(respondent, n, from(`${n}`, true)));
    expect(tryM1(respondent, 8, from('8', true))).toEqual({ kind: 'refuse', refusal: 'overloaded' });
    expect(tryM1(respondent, 8, from('8'))).toEqual(challenge);
    expect(respondent.pendingCount).toBe(8);
  });

  it('at the total, a proven M1 of a node with a transaction takes the place of that one', () => {
    const { respondent } = controller({ total: 2 });
    const first = forwarded(tryM1(respondent, 1, from('1', true)));
    forwarded(tryM1(respondent, 2, from('2', true)));
    forwarded(tryM1(respondent, 1, from('1', true)));
    expect(respondent.pendingCount).toBe(2);
    expect(respondent.receiveLinkAnswer(first, link.m3(first))).toEqual({ kind: 'unknown-transaction' });
  });

  it('a second M1 of a node must prove its address first', () => {
    const { respondent, tidsTaken } = controller();
    forwarded(tryM1(respondent, NODE, from('node')));
    expect(tryM1(respondent, NODE, from('node'))).toEqual(challenge);
    expect([respondent.pendingCount, tidsTaken()]).toEqual([1, 1]);
    forwarded(tryM1(respondent, NODE, from('node', true)));
  });

  it('a node has 4 open; a fifth evicts the oldest, and its right M5 comes too late', () => {
    const { respondent } = controller();
    const source = from('node', true);
    const [first, ...rest] = Array.from({ length: 4 }, () => reach.awaitingM5(respondent, { source }));
    forwarded(tryM1(respondent, NODE, source));
    expect(respondent.pendingCount).toBe(4);
    expect(respondent.receiveM5(first!.m5, source, after(1))).toEqual({ kind: 'refuse', refusal: 'noTransaction' });
    for (const { m5 } of rest) expect(respondent.receiveM5(m5, source, after(1)).kind).toBe('forward');
  });

  it('4 whose commit is under way are too many for a fifth', () => {
    const { respondent } = controller();
    const source = from('node', true);
    for (let n = 0; n < 4; n++) reach.awaitingM8(respondent, { source });
    expect(tryM1(respondent, NODE, source)).toEqual({ kind: 'refuse', refusal: 'rateLimited' });
    expect(respondent.pendingCount).toBe(4);
  });

  it('per source: the next from there must prove its address, and a proven one is refused', () => {
    const { respondent } = controller({ perSource: 2 });
    for (const idI of [1, 2]) forwarded(tryM1(respondent, idI, from('x', true)));
    expect(tryM1(respondent, 3, from('x', true))).toEqual({ kind: 'refuse', refusal: 'rateLimited' });
    forwarded(tryM1(respondent, 3, from('y', true)));
    expect(respondent.pendingCount).toBe(3);
  });

  it('per source: unproven ones are bounded too', () => {
    const { respondent, tidsTaken } = controller({ perSource: 2 });
    for (const idI of [1, 2]) forwarded(tryM1(respondent, idI, from('x')));
    expect(tryM1(respondent, 3, from('x'))).toEqual(challenge);
    expect([respondent.pendingCount, tidsTaken()]).toEqual([2, 2]);
  });

  it.each([
    [true, { kind: 'refuse', refusal: 'rateLimited' }],
    [false, challenge],
  ])('per source: the addresses of one network share the bound (proven: %s)', (proven, refused) => {
    const { respondent } = controller({ perSource: 2 });
    for (const idI of [1, 2]) forwarded(tryM1(respondent, idI, from(`x${idI}`, proven, 'x')));
    expect(tryM1(respondent, 3, from('x3', proven, 'x'))).toEqual(refused);
    forwarded(tryM1(respondent, 3, from('y3', proven, 'y')));
    expect(respondent.pendingCount).toBe(3);
  });

  it.each([true, false])('per source: what is proven: %s does not fill the share of what is not so', (proven) => {
    const { respondent } = controller({ perSource: 2 });
    for (const idI of [1, 2]) forwarded(tryM1(respondent, idI, from('x', proven)));
    for (const idI of [3, 4]) forwarded(tryM1(respondent, idI, from('x', !proven)));
    for (const kind of [true, false]) expect(tryM1(respondent, 5, from('x', kind)).kind).not.toBe('forward');
    expect(respondent.pendingCount).toBe(4);
  });

  it('per source: a proven M1 takes the place of an older one of its own node and source', () => {
    const { respondent } = controller({ perSource: 2 });
    const first = forwarded(tryM1(respondent, 1, from('x', true)));
    forwarded(tryM1(respondent, 2, from('x', true)));
    forwarded(tryM1(respondent, 1, from('x', true)));
    expect(respondent.pendingCount).toBe(2);
    expect(respondent.receiveLinkAnswer(first, link.m3(first))).toEqual({ kind: 'unknown-transaction' });
  });
});

describe('what is through (M8 came) no longer counts as open', () => {
  it('open falls when M8 comes, not before', () => {
    const { respondent } = controller();
    const { transaction } = reach.awaitingM8(respondent);
    expect(respondent.pendingCount).toBe(1);
    respondent.receiveLinkAnswer(transaction, link.m8(transaction));
    expect(respondent.pendingCount).toBe(0);
  });

  it('not against the total', () => {
    const { respondent } = controller({ total: 2 });
    for (const idI of [1, 2, 3]) reach.completed(respondent, { idI, source: from(`${idI}`, true) });
    for (const idI of [4, 5]) forwarded(tryM1(respondent, idI, from(`${idI}`, true)));
    expect(tryM1(respondent, 6, from('6', true))).toEqual({ kind: 'refuse', refusal: 'overloaded' });
  });

  it('not against the half of the total that unproven sources have', () => {
    const { respondent } = controller({ total: 4 });
    for (const idI of [1, 2, 3]) reach.completed(respondent, { idI });
    for (const idI of [4, 5]) forwarded(tryM1(respondent, idI, from('node')));
    expect(tryM1(respondent, 6, from('node'))).toEqual({ kind: 'challenge' });
  });

  it('not against the node: 4 more can be open, and none goes for them', () => {
    const { respondent } = controller();
    const source = from('node', true);
    const completed = Array.from({ length: 4 }, () => reach.completed(respondent, { source }));
    const open = Array.from({ length: 4 }, () => reach.awaitingM5(respondent, { source }));
    expect(respondent.pendingCount).toBe(4);
    for (const { m5, m6 } of completed) expect(answered(respondent.receiveM5(m5, source, after(1)))).toEqual(m6);
    for (const { m5 } of open) expect(respondent.receiveM5(m5, source, after(1)).kind).toBe('forward');
  });

  it.each([true, false])('not against the source (proven: %s)', (proven) => {
    const { respondent } = controller({ perSource: 1 });
    const source = from('x', proven);
    for (const idI of [1, 2, 3]) reach.completed(respondent, { idI, source });
    forwarded(tryM1(respondent, 4, source));
    expect(tryM1(respondent, 5, source).kind).not.toBe('forward');
  });

  it('a node that has one and no open one need not prove its address', () => {
    const { respondent } = controller();
    reach.completed(respondent);
    forwarded(tryM1(respondent, NODE, from('node')));
    expect(tryM1(respondent, NODE, from('node'))).toEqual({ kind: 'challenge' });
  });

  it('they make no room: with 2 through and 2 committing, 2 more open evict nothing', () => {
    const { respondent } = controller();
    const source = from('node', true);
    const four = (['awaitingM8', 'completed', 'awaitingM8', 'completed'] as const).map((phase) =>
      reach[phase](respondent, { source }),
    );
    const two = [reach.awaitingM5(respondent, { source }), reach.awaitingM5(respondent, { source })];
    const kinds = [...four, ...two].map(({ m5 }) => respondent.receiveM5(m5, source, after(1)).kind);
    expect(kinds).toEqual(['forward', 'answer', 'forward', 'answer', 'forward', 'forward']);
  });

  it('as many as the total are kept for copies; for one more the oldest goes, and nothing that is open', () => {
    const { respondent } = controller({ total: 3 });
    const source = from('node', true);
    const open = reach.awaitingM5(respondent, { source });
    const [first, ...rest] = Array.from({ length: 3 }, () => reach.completed(respondent, { source }));
    expect(answered(respondent.receiveM5(first!.m5, source, after(1)))).toEqual(first!.m6);
    const last = reach.completed(respondent, { source });
    expect(respondent.receiveM5(first!.m5, source, after(1))).toEqual({ kind: 'refuse', refusal: 'noTransaction' });
    expect(forwarded(respondent.receiveM1(first!.m1, source, after(1))).tid).not.toBe(first!.transaction.tid);
    for (const { m1, m4, m5, m6 } of [...rest, last]) {
      expect(answered(respondent.receiveM1(m1, source, after(1)))).toEqual(m4);
      expect(answered(respondent.receiveM5(m5, source, after(1)))).toEqual(m6);
    }
    expect(respondent.receiveM5(open.m5, source, after(1)).kind).toBe('forward');
    expect(respondent.pendingCount).toBe(2);
  });
});

describe('who makes room for a proven M1', () => {
  const sources = { x: from('x1', true, 'x'), x2: from('x2', true, 'x'), claimed: from('x1', false, 'x'), y: from('y', true) };
  const { x, x2 } = sources;
  type Phase = 'awaitingM3' | 'awaitingM5' | 'awaitingM8';
  type Given = `${Phase} ${keyof typeof sources}`;

  /**
   * Which of the node's transactions goes for one more M1 from `source`, as its place in the order
   * they were opened; the refusal.
   */
  function gone(held: readonly Given[], source: Source, bounds: Partial<RespondentBounds> = {}) {
    const { respondent } = controller(bounds);
    const opened = held.map((given) => {
      const [phase, whose] = given.split(' ') as [Phase, keyof typeof sources];
      return reach[phase](respondent, { source: sources[whose] }).transaction;
    });
    const decision = tryM1(respondent, NODE, source);
    const places = opened.flatMap((transaction, place) => (isRemembered(respondent, transaction) ? [] : [place]));
    return decision.kind === 'refuse' ? [decision.refusal, ...places] : places;
  }

  it('the oldest of its own source, before older ones of others, asked for or answered', () => {
    expect(gone(['awaitingM3 y', 'awaitingM5 y', 'awaitingM3 x', 'awaitingM3 x'], x)).toEqual([2]);
    expect(gone(['awaitingM3 y', 'awaitingM5 y', 'awaitingM5 x', 'awaitingM3 x'], x)).toEqual([2]);
  });

  it('of its own network, from whichever address', () => {
    expect(gone(['awaitingM5 y', 'awaitingM5 x', 'awaitingM5 y', 'awaitingM5 y'], x2)).toEqual([1]);
  });

  it('what merely claimed its address is of its own source, but makes no room where that is at its bound', () => {
    expect(gone(['awaitingM5 claimed', 'awaitingM5 x', 'awaitingM5 y', 'awaitingM5 y'], x)).toEqual([0]);
    expect(gone(['awaitingM5 claimed', 'awaitingM5 x', 'awaitingM5 x'], x, { perSource: 2 })).toEqual([1]);
  });

  it('where there is none of its own, the oldest', () => {
    expect(gone(['awaitingM5 y', 'awaitingM3 y', 'awaitingM3 y', 'awaitingM3 y'], x)).toEqual([0]);
  });

  it('never one whose commit is under way: the next oldest of its own, or else of all', () => {
    expect(gone(['awaitingM8 y', 'awaitingM5 y', 'awaitingM8 x', 'awaitingM5 x'], x)).toEqual([3]);
    expect(gone(['awaitingM8 x', 'awaitingM8 y', 'awaitingM5 y', 'awaitingM3 y'], x)).toEqual([2]);
  });

  it('at the bound of its source only one of its own: nobody else pays for it', () => {
    expect(gone(['awaitingM5 y', 'awaitingM5 x'], x, { perSource: 1 })).toEqual([1]);
    expect(gone(['awaitingM5 y', 'awaitingM8 x'], x, { perSource: 1 })).toEqual(['rateLimited']);
    const four: Given[] = ['awaitingM5 y', 'awaitingM5 y', 'awaitingM5 y', 'awaitingM8 x'];
    expect(gone(four, x, { perSource: 3 })).toEqual([0]);
    expect(gone([...four.slice(1), 'awaitingM8 x'], x, { perSource: 2 })).toEqual(['rateLimited']);
  });

  it('at the bound of its source, with none for this node: none', () => {
    const { respondent } = controller({ perSource: 1 });
    forwarded(tryM1(respondent, 2, x));
    const others = ['a', 'b', 'c', 'd'].map((address) => reach.awaitingM5(respondent, { source: from(address, true) }));
    expect(tryM1(respondent, NODE, x)).toEqual({ kind: 'refuse', refusal: 'rateLimited' });
    for (const { m5, source } of others) expect(respondent.receiveM5(m5, source, after(1)).kind).toBe('forward');
  });

  it('at the total, with all of the node committing: none, and it is refused as overload', () => {
    expect(gone(['awaitingM8 y'], x, { total: 1 })).toEqual(['overloaded']);
  });

  it.each([
    ['unproven', from('node')],
    ['proven', from('node', true)],
  ])('a proven flooder does not push out the transaction of a node that is %s', (_, source) => {
    const { respondent } = controller();
    const { m5 } = reach.awaitingM5(respondent, { source });
    const kinds = Array.from({ length: 100 }, () => tryM1(respondent, NODE, from('flooder', true)).kind);
    expect(new Set(kinds)).toEqual(new Set(['forward']));
    expect(respondent.pendingCount).toBe(4);
    expect(respondent.receiveM5(m5, source, after(2)).kind).toBe('forward');
  });

  it('nor does one that was there first, gets its M4s, and has a network full of addresses', () => {
    const { respondent } = controller();
    let n = 0;
    const flood = (): void => {
      for (const end = n + 50; n < end; n++)
        reach.awaitingM5(respondent, { source: from(`flooder ${n}`, true, 'flooder'), at: after(1) });
    };
    flood();
    const source = from('node', true);
    const m1 = newM1();
    const transaction = forwarded(respondent.receiveM1(m1, source, after(1)));
    flood();
    const m4 = answered(respondent.receiveLinkAnswer(transaction, link.m3(transaction)));
    flood();
    expect(respondent.receiveM5(m5To(m4, m1), source, after(2)).kind).toBe('forward');
  });
});

describe('whoever sends what, however far it gets', () => {
  const bounds = { total: 6, perSource: 3 };
  const step = fc.oneof(
    {
      weight: 6,
      arbitrary: fc.record({
        idI: fc.nat({ max: 3 }),
        network: fc.constantFrom('a', 'b', 'c'),
        host: fc.nat({ max: 1 }),
        proven: fc.constantFrom(true, true, false),
      }),
    },
    { weight: 6, arbitrary: fc.record({ advance: fc.nat(), by: fc.integer({ min: 1, max: 3 }) }) },
    { weight: 1, arbitrary: fc.record({ wait: fc.constantFrom(1000, 10_000, 45_000) }) },
  );
  type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

  interface Held {
    readonly transaction: Transaction;
    readonly prefix: string;
    readonly limitKey: string;
    phase: 'awaitingM3' | 'awaitingM5' | 'awaitingM8' | 'completed';
    m5: Uint8Array;
  }
  const isOpen = ({ phase }: Held): boolean => phase !== 'completed';
  const isEvictable = ({ phase }: Held): boolean => phase === 'awaitingM3' || phase === 'awaitingM5';
  const nodeOf = ({ transaction }: Held): number => transaction.idI;

  /** A controller, and what of it is there by the rules. */
  class Model {
    readonly respondent = controller(bounds).respondent;
    elapsed = 0;
    /** In the order they were opened. */
    held: Held[] = [];

    /** Takes a step: what it is called, and which transactions may have gone for it. */
    take(given: Step): { readonly what: string; readonly mayHaveGone: readonly Held[] } {
      if ('wait' in given) {
        this.elapsed += given.wait;
        this.respondent.expire(START + this.elapsed);
        this.held = this.held.filter(({ transaction }) => BigInt(WALL + this.elapsed) - transaction.ts < 60_000n);
        return { what: 'wait', mayHaveGone: [] };
      }
      if ('advance' in given) {
        const open = this.held.filter(isOpen);
        for (let n = 0; n < given.by && open.length > 0; n++) this.#advance(open[given.advance % open.length]!);
        const completed = this.held.filter((one) => !isOpen(one));
        const ofFullNodes = completed.filter((one) => completed.filter((other) => nodeOf(other) === nodeOf(one)).length > 4);
        return { what: 'advance', mayHaveGone: completed.length > bounds.total ? completed : ofFullNodes };
      }
      const { idI, network, host, proven } = given;
      const limitKey = `${network} ${proven}`;
      const couldGo = this.held.filter((one) => nodeOf(one) === idI && isEvictable(one));
      const sourceIsFull = this.held.filter((one) => isOpen(one) && one.limitKey === limitKey).length >= bounds.perSource;
      const decision = this.respondent.receiveM1(newM1(idI), from(`${network}${host}`, proven, network), after(this.elapsed));
      if (decision.kind !== 'forward')
        return { what: decision.kind === 'refuse' ? decision.refusal : decision.kind, mayHaveGone: [] };
      this.held.push({
        transaction: decision.transaction,
        prefix: network,
        limitKey,
        phase: 'awaitingM3',
        m5: new Uint8Array(0),
      });
      const wouldGo = sourceIsFull
        ? couldGo.find((one) => one.limitKey === limitKey)
        : (couldGo.find((one) => one.prefix === network) ?? couldGo[0]);
      return { what: 'forward', mayHaveGone: proven && wouldGo !== undefined ? [wouldGo] : [] };
    }

    /** Forgets those that have gone. */
    sweep(): Held[] {
      const gone = this.held.filter(({ transaction }) => !isRemembered(this.respondent, transaction));
      this.held = this.held.filter((one) => !gone.includes(one));
      return gone;
    }

    /** M3, M5 or M8 comes, or a copy of M5. */
    #advance(one: Held): void {
      const { transaction, phase, m5 } = one;
      const now = after(this.elapsed);
      if (phase === 'awaitingM3') {
        one.m5 = m5To(answered(this.respondent.receiveLinkAnswer(transaction, link.m3(transaction))), transaction.m1);
        one.phase = 'awaitingM5';
      } else if (phase === 'awaitingM5') {
        forwarded(this.respondent.receiveM5(m5, from('roaming'), now));
        one.phase = 'awaitingM8';
      } else if (phase === 'awaitingM8') {
        answered(this.respondent.receiveLinkAnswer(transaction, link.m8(transaction)));
        one.phase = 'completed';
      } else answered(this.respondent.receiveM5(m5, from('roaming'), now));
    }
  }

  function mostOf(held: readonly Held[], of: (held: Held) => unknown): number {
    const counts = new Map<unknown, number>();
    for (const one of held) counts.set(of(one), (counts.get(of(one)) ?? 0) + 1);
    return Math.max(0, ...counts.values());
  }

  it('the bounds hold, open is what is open, and one at most makes room: the one that must', () => {
    const reached = new Set<string>();
    fc.assert(
      fc.property(fc.array(step, { minLength: 20, maxLength: 100, size: 'max' }), (steps) => {
        const model = new Model();
        for (const given of steps) {
          const { what, mayHaveGone } = model.take(given);
          const gone = model.sweep();
          expect(gone.filter((one) => !mayHaveGone.includes(one))).toEqual([]);
          expect(gone.length).toBeLessThanOrEqual(1);
          const open = model.held.filter(isOpen);
          expect(model.respondent.pendingCount).toBe(open.length);
          expect(open.length).toBeLessThanOrEqual(bounds.total);
          expect(model.held.length - open.length).toBeLessThanOrEqual(bounds.total);
          expect(mostOf(open, nodeOf)).toBeLessThanOrEqual(4);
          expect(
            mostOf(
              model.held.filter((one) => !isOpen(one)),
              nodeOf,
            ),
          ).toBeLessThanOrEqual(4);
          expect(mostOf(open, ({ limitKey }) => limitKey)).toBeLessThanOrEqual(bounds.perSource);
          reached.add(`${what}, ${gone.length} gone`);
        }
        model.respondent.expire(START + model.elapsed + 60_000);
        model.sweep();
        expect([model.respondent.pendingCount, model.held]).toEqual([0, []]);
      }),
      { numRuns: 300 },
    );
    const expected = [
      'forward, 0 gone',
      'forward, 1 gone',
      'challenge, 0 gone',
      'rateLimited, 0 gone',
      'overloaded, 0 gone',
      'advance, 1 gone',
    ];
    expect([...reached], 'a search that never got there would prove nothing').toEqual(expect.arrayContaining(expected));
  });
});

describe('forged M1s keep no node out', () => {
  const honest = from('node', true);
  const tryTimes = (respondent: Respondent, times: number): string[] =>
    Array.from({ length: times }, () => tryM1(respondent, NODE, honest).kind);

  it('not by filling the table: half of it is left to proven sources', () => {
    const { respondent } = controller({ total: 8, perSource: 4 });
    for (let n = 0; n < 100; n++) tryM1(respondent, 0x1000 + n, from(`forged ${n}`));
    expect(tryTimes(respondent, 1)).toEqual(['forward']);
  });

  it('not by naming the node', () => {
    const { respondent } = controller();
    for (let n = 0; n < 100; n++) tryM1(respondent, NODE, from(`forged ${n}`));
    expect(tryTimes(respondent, 6)).toEqual(['forward', 'forward', 'forward', 'forward', 'forward', 'forward']);
  });

  it("not by bearing the node's address: what claims it does not fill the share of who has proven it", () => {
    const { respondent } = controller({ total: 100, perSource: 4 });
    for (let n = 0; n < 100; n++) tryM1(respondent, 0x1000 + n, from('node'));
    expect(tryTimes(respondent, 1)).toEqual(['forward']);
    for (let n = 0; n < 3; n++) expect(tryM1(respondent, 0x2000 + n, honest).kind).toBe('forward');
  });

  it('not by being the oldest of the node where its own source is full: its own oldest makes room', () => {
    const { respondent } = controller({ perSource: 2 });
    tryM1(respondent, NODE, from('forged'));
    const [first] = [forwarded(tryM1(respondent, NODE, honest)), forwarded(tryM1(respondent, NODE, honest))];
    expect(tryTimes(respondent, 1)).toEqual(['forward']);
    expect(respondent.receiveLinkAnswer(first, link.m3(first))).toEqual({ kind: 'unknown-transaction' });
  });
});

describe('keys', () => {
  const over = START + 60_000;

  it.each(['awaitingM3', 'awaitingM5', 'awaitingM8'] as const)('%s: wiped when the transaction expires', (phase) => {
    const left = unwiped((respondent) => {
      reach[phase](respondent);
      reach.awaitingM5(respondent, { idI: 2 });
      respondent.expire(over);
    });
    expect(left).toEqual([]);
  });

  it('awaitingM5: the PSK is held until then', () => {
    expect(unwiped((respondent) => reach.awaitingM5(respondent))).toHaveLength(1);
  });

  it("joined: the PSK is wiped as M6 is sealed, and the application root is the caller's", () => {
    let handed: Secret | undefined;
    const left = unwiped((respondent) => {
      const { decision } = reach.completed(respondent);
      if (decision.kind === 'answer') handed = decision.joined?.applicationRoot;
    });
    expect(left).toEqual([String(handed)]);
  });

  it('evicted: wiped', () => {
    const left = unwiped((respondent) => {
      const source = from('node', true);
      reach.awaitingM5(respondent, { source });
      for (let n = 0; n < 4; n++) reach.awaitingM3(respondent, { source });
    });
    expect(left).toEqual([]);
  });

  it('refused by M9: wiped', () => {
    const left = unwiped((respondent) => {
      const { transaction } = reach.awaitingM8(respondent);
      respondent.receiveLinkAnswer(transaction, link.m9(transaction, 7));
    });
    expect(left).toEqual([]);
  });

  it('through, and gone to make room for another: the application root that was handed over is left alone', () => {
    const { respondent } = controller({ total: 1 });
    const handed = [1, 2].map((idI) => {
      const { decision } = reach.completed(respondent, { idI });
      return decision.kind === 'answer' && decision.joined?.applicationRoot.toHex();
    });
    expect(handed).toEqual([expect.stringMatching(/^[0-9a-f]{32}$/), expect.stringMatching(/^[0-9a-f]{32}$/)]);
  });

  it('a K_i that came for another node: wiped at once', () => {
    const left = unwiped((respondent) => {
      const { transaction } = reach.awaitingM3(respondent);
      const decision = respondent.receiveLinkAnswer(transaction, link.m3(transaction, { idI: NODE + 1 }));
      expect(decision).toEqual({ kind: 'ignored' });
    });
    expect(left).toEqual([]);
  });
});

describe('another SK_cs', () => {
  const NEXT = secret(0xdd);

  it('leaves the one before until the last transaction that was opened under it is gone, then that is wiped', () => {
    const made = vi.spyOn(Secret, 'from');
    const { respondent } = controller();
    const [before] = made.mock.results.map(({ value }) => value as Secret);
    const isWiped = (): boolean => String(before) === '[secret wiped]';
    const one = forwarded(respondent.receiveM1(newM1(), from('a'), after(0)));
    forwarded(respondent.receiveM1(newM1(NODE + 1), from('b'), after(1_000)));
    respondent.rekey(NEXT.copy());
    forwarded(respondent.receiveM1(newM1(NODE + 2), from('c'), after(2_000)));
    respondent.rekey(NEXT.copy());
    expect(isWiped()).toBe(false);
    answered(respondent.receiveLinkAnswer(one, link.m3(one)));
    respondent.expire(after(60_999).monotonicMs);
    expect(isWiped()).toBe(false);
    respondent.expire(after(61_000).monotonicMs);
    expect(isWiped()).toBe(true);
    expect(respondent.pendingCount).toBe(1);
    respondent.expire(after(62_000).monotonicMs);
    forwarded(respondent.receiveM1(newM1(), from('a'), after(63_000)));
  });

  it('has the one before wiped at once where nothing is under way', () => {
    const made = vi.spyOn(Secret, 'from');
    const { respondent } = controller();
    respondent.rekey(NEXT.copy());
    expect(made.mock.results.map(({ value }) => String(value))).toEqual(['[secret wiped]', String(NEXT)]);
  });

  it('seals what comes after, while what is under way ends under the one before', () => {
    const { respondent } = controller();
    const m1 = newM1();
    const before = forwarded(respondent.receiveM1(m1, from('a'), after(0)));
    respondent.rekey(NEXT);
    const later = forwarded(respondent.receiveM1(newM1(NODE + 1), from('b'), after(1)));
    expect(
      [before, later].map(({ request }) =>
        [SK_CS, NEXT].map((key) => openM2(decodeLinkRequest(request) as never, key) !== undefined),
      ),
    ).toEqual([
      [true, false],
      [false, true],
    ]);

    const underNext = sealM3({ key: KEY, idI: NODE }, randomBytes(13), before.request, NEXT);
    expect(respondent.receiveLinkAnswer(before, underNext)).toEqual({ kind: 'ignored' });
    const m4 = answered(respondent.receiveLinkAnswer(before, link.m3(before)));
    const commit = forwarded(respondent.receiveM5(m5To(m4, m1), from('a'), after(2)));
    expect(openM7(decodeLinkRequest(commit.request) as never, NEXT)).toBeDefined();
    expect(respondent.receiveLinkAnswer(commit, link.m8(commit))).toEqual({ kind: 'ignored' });
    answered(respondent.receiveLinkAnswer(commit, sealM8({ idI: NODE, lifetime: 1 }, randomBytes(13), commit.request, NEXT)));
  });
});
