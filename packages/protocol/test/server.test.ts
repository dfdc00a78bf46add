// Proves the auth-server's judgement: the rows of the profile's table in their order and each at
// its exact millisecond, what a commit contains, and that only the M7 committed last may be
// repeated.

import { describe, expect, it, vi } from 'vitest';
import type { LinkRefusal } from '../src/errors.js';
import { decodeLinkRequest, encodeM1, openM3, openM8, openM9, sealM2, sealM5, sealM7 } from '../src/messages.js';
import { derivePsk } from '../src/psk.js';
import { Secret } from '../src/secret.js';
import { expiryOf, type ServerDecision, decide, type ServerNodeRecord, openLinkRequest, sealAnswer } from '../src/server.js';
import { seededRandomBytes, secret } from './fixtures.js';

const randomBytes = seededRandomBytes('server');
const WALL = 1_795_000_000_000;
const ID_I = 0xa1b2;
const ID_C = 1;
const SK_CS = secret(0xcc);
const IK = secret(0x11);
const NID = randomBytes(18);

const FRESH: ServerNodeRecord = {
  idI: ID_I,
  key: IK,
  initial: true,
  controller: ID_C,
  disabled: false,
  lifetime: 3600,
  grace: 60,
};
const RENEWING: ServerNodeRecord = {
  ...FRESH,
  initial: false,
  committed: { idC: ID_C, tid: 1n, ts: WALL - 3_600_000, nidI: NID, lifetime: 3600 },
};

function committedAt(ts: number): ServerNodeRecord {
  return { ...RENEWING, committed: { ...RENEWING.committed!, ts } };
}

interface RequestTerms {
  readonly ts?: number;
  readonly tid?: bigint;
  readonly idC?: number;
  /** The key the node proves itself with. */
  readonly key?: Secret;
}

/** An M2 and an M7 of one transaction, as the server finds them. */
function transaction({ ts = WALL, tid = 9n, idC = ID_C, key = IK }: RequestTerms = {}) {
  const [rnI, rnC] = [randomBytes(16), randomBytes(16)];
  const m1Octets = encodeM1({ idI: ID_I, rnI });
  const psk = derivePsk(key, rnI, rnC);
  const c5 = sealM5({ idC, tid, m1Octets }, rnC, psk).subarray(9);
  const body = { rnC, ts: BigInt(ts), m1Octets, nidI: NID, c5 };
  const header = { idC, tid };
  const opened = (octets: Uint8Array) => {
    const request = decodeLinkRequest(octets);
    return { request, opened: openLinkRequest(request, SK_CS)! };
  };
  return {
    psk,
    m2: opened(sealM2({ ...header, nonce: randomBytes(13) }, body, SK_CS)),
    m7: opened(sealM7({ ...header, nonce: randomBytes(13) }, body, SK_CS)),
    /** The same M7 body, sealed anew. */
    again: () => opened(sealM7({ ...header, nonce: randomBytes(13) }, body, SK_CS)),
  };
}

type ServerRequest = ReturnType<typeof transaction>['m2'];

function verdict({ opened }: ServerRequest, node: ServerNodeRecord | undefined, wallMs: number): string {
  const decision = decide(opened, node, wallMs);
  return decision.kind === 'refuse' ? decision.refusal : decision.kind;
}

describe('the table, in its order', () => {
  /**
   * Everything is wrong at first; each step sets one row right, and the next row must then be the
   * one that refuses.
   */
  const late = 300_000;
  const wrong: ServerNodeRecord = {
    ...RENEWING,
    controller: 2,
    disabled: true,
    grace: 0,
    initial: true,
    joinUntil: WALL - 1,
    committed: { ...RENEWING.committed!, ts: WALL - 3_600_001 },
  };
  const steps: { readonly refused: LinkRefusal; readonly wall: number; readonly node: ServerNodeRecord | undefined }[] = [
    { refused: 'clock', wall: WALL + late, node: undefined },
    { refused: 'unknownNode', wall: WALL, node: undefined },
    { refused: 'notAssigned', wall: WALL, node: wrong },
    { refused: 'disabled', wall: WALL, node: { ...wrong, controller: ID_C } },
    { refused: 'expired', wall: WALL, node: { ...wrong, controller: ID_C, disabled: false } },
    { refused: 'outsideJoinWindow', wall: WALL, node: { ...wrong, controller: ID_C, disabled: false, grace: 1 } },
  ];
  const right: ServerNodeRecord = { ...wrong, controller: ID_C, disabled: false, grace: 1, joinUntil: WALL };

  it.each(steps)('$refused, for M2 and M7', ({ refused, wall, node }) => {
    const { m2, m7 } = transaction({ key: secret(0x77) });
    expect(verdict(m2, node, wall)).toBe(refused);
    expect(verdict(m7, node, wall)).toBe(refused);
  });

  it('then M2 is answered, and M7 goes by its proof', () => {
    const wrongProof = transaction({ key: secret(0x77) });
    expect(verdict(wrongProof.m2, right, WALL)).toBe('answer');
    expect(verdict(wrongProof.m7, right, WALL)).toBe('proofFailed');
    expect(verdict(transaction().m7, right, WALL)).toBe('commit');
  });
});

describe('each row at its millisecond', () => {
  it.each([
    ['m2', 30_000, 30_000],
    ['m7', 90_000, 30_000],
  ] as const)('TS of %s: %i ms back and %i ms ahead', (name, back, ahead) => {
    const at = (ts: number): string => verdict(transaction({ ts })[name], FRESH, WALL);
    expect([WALL - back - 1, WALL + ahead + 1].map(at)).toEqual(['clock', 'clock']);
    expect([WALL - back, WALL + ahead].map(at)).not.toContain('clock');
  });

  it.each([0n, 0xffff_ffff_ffff_ffffn])('a TS of %i is outside', (ts) => {
    const m1Octets = encodeM1({ idI: ID_I, rnI: randomBytes(16) });
    const octets = sealM2({ idC: ID_C, tid: 1n, nonce: randomBytes(13) }, { rnC: randomBytes(16), ts, m1Octets }, SK_CS);
    expect(decide(openLinkRequest(decodeLinkRequest(octets), SK_CS)!, FRESH, WALL)).toEqual({ kind: 'refuse', refusal: 'clock' });
  });

  it('expiry and grace', () => {
    const grace = WALL - 3_660_000;
    expect(expiryOf(committedAt(grace))).toBe(WALL - 60_000);
    expect([grace, grace - 1].map((ts) => verdict(transaction().m2, committedAt(ts), WALL))).toEqual(['answer', 'expired']);
  });

  it('lifetime 0 and a node that never joined do not expire', () => {
    const forEver = { ...RENEWING, committed: { ...RENEWING.committed!, ts: 0, lifetime: 0 } };
    expect([forEver, FRESH].map(expiryOf)).toEqual([undefined, undefined]);
    expect(verdict(transaction().m2, forEver, WALL)).toBe('answer');
  });

  it('the join window', () => {
    const from = (joinFrom: number): string => verdict(transaction().m2, { ...FRESH, joinFrom }, WALL);
    const until = (joinUntil: number): string => verdict(transaction().m2, { ...FRESH, joinUntil }, WALL);
    expect([from(WALL), from(WALL + 1)]).toEqual(['answer', 'outsideJoinWindow']);
    expect([until(WALL), until(WALL - 1)]).toEqual(['answer', 'outsideJoinWindow']);
  });

  it('the join window is asked only while K_i is IK_i', () => {
    const shut = { joinFrom: WALL + 1, joinUntil: WALL - 1 };
    expect(verdict(transaction().m2, { ...FRESH, ...shut }, WALL)).toBe('outsideJoinWindow');
    expect(verdict(transaction().m2, { ...RENEWING, ...shut }, WALL)).toBe('answer');
  });

  it('a node without bounds may join at any time', () => {
    expect(verdict(transaction().m2, { ...FRESH, joinFrom: undefined, joinUntil: undefined }, WALL)).toBe('answer');
  });
});

describe('a node whose initial key was reissued', () => {
  const reissued = (reissuedAt: number): ServerNodeRecord => ({ ...FRESH, reissuedAt });
  /** The judgement in one word, with the wait in ms where there is one. */
  const held = ({ opened }: ServerRequest, node: ServerNodeRecord, wall = WALL): string => {
    const decision = decide(opened, node, wall);
    if (decision.kind !== 'refuse') return decision.kind;
    const { refusal, holdoff } = decision;
    return holdoff === undefined ? refusal : `${refusal} ${holdoff.remainingMs}`;
  };

  it.each([
    [0, 'overloaded 35000'],
    [34_999, 'overloaded 1'],
    [35_000, 'overloaded 0'],
    [35_001, 'answer'],
  ])('%i ms ago has its M2 refused with what is left of 35 s, then answered', (ago, expected) => {
    expect(held(transaction().m2, reissued(WALL - ago))).toBe(expected);
  });

  it('has an M2 refused for as long as the controller’s clock lags behind, whose M7 would be refused', () => {
    expect(held(transaction({ ts: WALL - 20_000 }).m2, reissued(WALL - 36_000))).toBe('overloaded 19000');
    expect(held(transaction({ ts: WALL - 20_000 }).m2, reissued(WALL - 55_001))).toBe('answer');
    // A clock that is ahead shortens nothing: the M2 may be from before.
    expect(held(transaction({ ts: WALL + 30_000 }).m2, reissued(WALL - 34_999))).toBe('overloaded 1');
  });

  it.each([
    [0, 'overloaded 35000'],
    [-35_000, 'overloaded 70000'],
    [-65_000, 'overloaded 100000'],
    [-65_001, 'commit'],
  ])('%i ms ago has no M7 of now committed, unless the clock was set back since', (ago, expected) => {
    expect(held(transaction().m7, reissued(WALL - ago))).toBe(expected);
  });

  it('has an M7 refused by its TS, however late it comes', () => {
    const m7 = (after: number): ServerRequest => transaction({ ts: WALL + after }).m7;
    const node = reissued(WALL);
    expect(held(m7(35_000), node, WALL + 35_000)).toBe('overloaded 0');
    expect(held(m7(35_000), node, WALL + 125_000)).toBe('overloaded 0');
    expect(held(m7(35_001), node, WALL + 35_001)).toBe('commit');
    expect(held(m7(35_001), node, WALL + 5_001)).toBe('commit');
  });

  it('is asked for its proof first, and its PSK is wiped', () => {
    const [right, wrong] = [transaction(), transaction({ key: secret(0x77) })];
    const made = vi.spyOn(Secret, 'from');
    expect([held(right.m7, reissued(WALL)), held(wrong.m7, reissued(WALL))]).toEqual(['overloaded 35000', 'proofFailed']);
    const shown = made.mock.results.map(({ value }) => String(value));
    made.mockRestore();
    expect(new Set(shown)).toEqual(new Set(['[secret wiped]']));
  });

  it('is refused for every other reason first', () => {
    const { m2 } = transaction();
    const node = { ...reissued(WALL), joinUntil: WALL - 1 };
    expect(held(m2, node)).toBe('outsideJoinWindow');
    expect(held(m2, { ...node, controller: 2 })).toBe('notAssigned');
  });

  it('gets the M8 of what was committed last again: that changes no key', () => {
    const { m7 } = transaction();
    const joined = { ...committed(FRESH, m7), reissuedAt: WALL };
    expect(decide(m7.opened, joined, WALL)).toEqual({ kind: 'answer', with: 'M8', lifetime: 3600 });
  });
});

type CommitDecision = Extract<ServerDecision, { kind: 'commit' }>;

/** Commits an M7, as the store would. */
function committed(node: ServerNodeRecord, { opened }: ServerRequest, wallMs = WALL): ServerNodeRecord {
  const decision = decide(opened, node, wallMs);
  expect(decision.kind).toBe('commit');
  const { to, commit } = decision as CommitDecision;
  return { ...node, key: to, initial: false, committed: commit };
}

describe('commit', () => {
  it('replaces the key C5 was verified under by the PSK, with lifetime, ID_c, TID, TS and NID_i', () => {
    const { m7, psk } = transaction({ tid: 42n, ts: WALL - 5 });
    const decision = decide(m7.opened, FRESH, WALL) as CommitDecision;
    expect(decision).toMatchObject({
      kind: 'commit',
      commit: { idC: ID_C, tid: 42n, ts: WALL - 5, nidI: NID, lifetime: 3600 },
    });
    expect(decision.from).toBe(FRESH.key);
    expect(decision.to).toEqual(psk);
  });

  it('M2 hands out K_i as it is now and changes nothing', () => {
    expect(decide(transaction().m2.opened, FRESH, WALL)).toEqual({ kind: 'answer', with: 'M3', key: FRESH.key });
  });

  it('a C5 under another key, another RN_c, TID, controller or M1 is no proof', () => {
    const { m7 } = transaction();
    if (m7.opened.type !== 'M7') throw new Error('not an M7');
    const { opened } = m7;
    const { body } = opened;
    const otherM1 = { m1: { idI: ID_I, rnI: randomBytes(16) } };
    const wrongInside = sealM5({ ...opened, m1Octets: body.m1Octets }, randomBytes(16), derivePsk(IK, body.m1.rnI, body.rnC));
    const mutants = [
      { ...opened, body: { ...body, c5: wrongInside.subarray(9) } },
      { ...opened, body: { ...body, rnC: randomBytes(16) } },
      { ...opened, body: { ...body, c5: randomBytes(24) } },
      { ...opened, body: { ...body, ...otherM1 } },
      { ...opened, body: { ...body, m1Octets: encodeM1(otherM1.m1) } },
      { ...opened, tid: opened.tid + 1n },
    ];
    const refusals = mutants.map((mutant) => decide(mutant, FRESH, WALL));
    expect(refusals).toEqual(mutants.map(() => ({ kind: 'refuse', refusal: 'proofFailed' })));
    expect(decide({ ...opened, idC: 2 }, { ...FRESH, controller: 2 }, WALL)).toMatchObject({ refusal: 'proofFailed' });
    expect(decide(opened, { ...FRESH, key: secret(0x77) }, WALL)).toMatchObject({ refusal: 'proofFailed' });
  });
});

describe('keys', () => {
  it('the PSK tried on a proof that fails is wiped', () => {
    const { m7 } = transaction({ key: secret(0x77) });
    const made = vi.spyOn(Secret, 'from');
    expect(verdict(m7, FRESH, WALL)).toBe('proofFailed');
    const shown = made.mock.results.map(({ value }) => String(value));
    made.mockRestore();
    expect(new Set(shown)).toEqual(new Set(['[secret wiped]']));
    expect(() => FRESH.key.expose()).not.toThrow();
  });
});

describe('repeats', () => {
  const first = transaction();
  const joined = committed(FRESH, first.m7);

  it('the M7 committed last is answered with the lifetime stored then, octet for octet or sealed anew', () => {
    const changed = { ...joined, lifetime: 5 };
    const answer = { kind: 'answer', with: 'M8', lifetime: 3600 };
    expect(decide(first.m7.opened, changed, WALL)).toEqual(answer);
    expect(decide(first.again().opened, changed, WALL)).toEqual(answer);
  });

  it('a repeat passes the rest of the table first', () => {
    expect(verdict(first.m7, { ...joined, disabled: true }, WALL)).toBe('disabled');
    expect(verdict(first.m7, joined, WALL + 90_000)).toBe('answer');
    expect(verdict(first.m7, joined, WALL + 90_001)).toBe('clock');
  });

  it('another transaction under the key that was replaced is refused', () => {
    expect(verdict(transaction({ tid: 10n }).m7, joined, WALL)).toBe('proofFailed');
  });

  it('the last M7 but one is refused', () => {
    const renewal = transaction({ tid: 10n, key: joined.key });
    const renewed = committed(joined, renewal.m7);
    expect(verdict(first.m7, renewed, WALL)).toBe('proofFailed');
    expect(verdict(renewal.m7, renewed, WALL)).toBe('answer');
  });

  it.each([
    ['TID', { tid: 10n }],
    ['ID_c', { idC: 2 }],
  ])('the same proof is no repeat where the commit bears another %s', (_, other) => {
    const record = { ...joined, committed: { ...joined.committed!, ...other } };
    expect(verdict(first.m7, record, WALL)).toBe('proofFailed');
  });

  it('the same TID with another RN_c is no repeat', () => {
    expect(verdict(transaction().m7, joined, WALL)).toBe('proofFailed');
  });
});

function seal({ request, opened }: ServerRequest, decision: Exclude<ServerDecision, CommitDecision>): Uint8Array {
  return sealAnswer(request, opened, decision, randomBytes(13), SK_CS);
}

describe('answers', () => {
  const { m2, m7, again } = transaction();

  it('M3 opens to K_i and ID_i, over this very M2', () => {
    const m3 = seal(m2, { kind: 'answer', with: 'M3', key: IK });
    expect(openM3(m3, m2.request.octets, SK_CS)).toEqual({ idI: ID_I, key: IK });
    expect(openM3(m3, transaction().m2.request.octets, SK_CS)).toBeUndefined();
  });

  it('M8 opens to ID_i and lifetime, over this very M7 and not over its twin', () => {
    const m8 = seal(m7, { kind: 'answer', with: 'M8', lifetime: 7 });
    expect(openM8(m8, m7.request.octets, SK_CS)).toEqual({ idI: ID_I, lifetime: 7 });
    expect(openM8(m8, again().request.octets, SK_CS)).toBeUndefined();
  });

  it('M9 opens to its reason and ID_i, over this very M2 or M7', () => {
    for (const asked of [m2, m7]) {
      const m9 = seal(asked, { kind: 'refuse', refusal: 'outsideJoinWindow' });
      expect(openM9(m9, asked.request.octets, SK_CS)).toEqual({ reason: 4, idI: ID_I });
      expect(openM9(m9, transaction().m7.request.octets, SK_CS)).toBeUndefined();
    }
  });

  it('a request under another SK_cs does not open, from a Buffer either, and opens under the right one after that', () => {
    for (const { request } of [m2, m7]) {
      const copy = decodeLinkRequest(Buffer.from(request.octets));
      expect(openLinkRequest(copy, secret(0xdd))).toBeUndefined();
      expect(openLinkRequest(copy, SK_CS)).toBeDefined();
      expect(Uint8Array.from(copy.octets)).toEqual(request.octets);
    }
  });
});
