// Proves the node's rules 1 to 6 of the profile, branch by branch: what it stores, what it drops,
// what it sends, what it ignores.

import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type AwaitingM4,
  type AwaitingM6,
  backOff,
  beginAttempt,
  type Candidate,
  installNode,
  type M4Decision,
  type M6Decision,
  type NodeState,
  receiveM4,
  receiveM6,
} from '../src/initiator.js';
import { decodeM1, decodeM5, openC5, sealM4, sealM6 } from '../src/messages.js';
import { derivePsk } from '../src/psk.js';
import { Secret } from '../src/secret.js';
import { seededRandomBytes, flipped, secret } from './fixtures.js';

const randomBytes = seededRandomBytes('initiator');
const CONTROLLER = 0x0000_0001;
const OTHER_CONTROLLER = 0x0000_0002;
const TID = 77n;
const GENERATED_AT = 1_000_000;
const ARRIVED_AT = GENERATED_AT + 700;

/** A node whose candidates, oldest first, had these ages when `GENERATED_AT` came. */
function nodeWith(ages: readonly number[] = []): NodeState {
  return {
    idI: 0xa1b2,
    controllers: [CONTROLLER, OTHER_CONTROLLER],
    confirmed: Secret.from(randomBytes(16)),
    initial: true,
    candidates: ages.map((age) => ({ psk: Secret.from(randomBytes(16)), storedAt: GENERATED_AT - age })),
  };
}

function begin(state: NodeState): AwaitingM4 {
  return beginAttempt(state, randomBytes(16), GENERATED_AT);
}

interface M4Terms {
  readonly idC?: number;
  readonly tid?: bigint;
  readonly rnI?: Uint8Array;
  readonly rnC?: Uint8Array;
  readonly m1?: Uint8Array;
}

function m4Under(key: Secret, attempt: AwaitingM4, terms: M4Terms = {}): Uint8Array {
  const { idC = CONTROLLER, tid = TID, rnI = attempt.rnI, rnC = randomBytes(16), m1 = attempt.m1 } = terms;
  return sealM4({ idC, tid }, { rnI, rnC }, key, m1);
}

/** Whether these are the very keys, in this order: the ones that will be wiped. */
function expectTheVery(keys: readonly Secret[], expected: readonly Secret[]): void {
  expect(keys).toEqual(expected);
  expect(keys.filter((key, i) => key !== expected[i])).toEqual([]);
}

type Stored = Extract<M4Decision, { kind: 'store' }>;

function stored(decision: M4Decision): Stored {
  expect(decision).toMatchObject({ kind: 'store' });
  return decision as Stored;
}

function joined(decision: M6Decision): Extract<M6Decision, { kind: 'joined' }> {
  expect(decision).toMatchObject({ kind: 'joined' });
  return decision as Extract<M6Decision, { kind: 'joined' }>;
}

/** Runs an attempt up to M5. */
function proven(state: NodeState, terms: M4Terms = {}, under: Secret = state.confirmed): Stored & { readonly m1: Uint8Array } {
  const attempt = begin(state);
  return { ...stored(receiveM4(state, attempt, m4Under(under, attempt, terms), ARRIVED_AT)), m1: attempt.m1 };
}

function m6For({ idC, tid, psk, m5 }: AwaitingM6, lifetime = 3600): Uint8Array {
  return sealM6({ idC, tid }, { lifetime }, psk, m5);
}

describe('a node that is installed', () => {
  const former = nodeWith([400_000, 20_000]);
  const again = { idI: former.idI, controllers: [OTHER_CONTROLLER], ik: Secret.from(former.confirmed.expose()) };

  it('holds its initial key and nothing else', () => {
    expect(installNode(again, undefined)).toEqual({
      idI: former.idI,
      controllers: [OTHER_CONTROLLER],
      confirmed: again.ik,
      initial: true,
      candidates: [],
    });
  });

  it('again, with the initial key that it holds, keeps its candidates', () => {
    const installed = installNode(again, { ...former, initial: true });
    expect(installed.candidates).toBe(former.candidates);
    expect(installed.confirmed).toBe(again.ik);
    expect(installed).toMatchObject({ controllers: [OTHER_CONTROLLER], initial: true });
  });

  it.each<[string, Partial<NodeState>]>([
    ['has traded it in', { initial: false }],
    ['held another initial key', { initial: true, confirmed: Secret.from(randomBytes(16)) }],
    ['was another node', { initial: true, idI: former.idI + 1 }],
  ])('again keeps none where it %s', (_, more) => {
    expect(installNode(again, { ...former, ...more }).candidates).toEqual([]);
  });
});

describe('rule 1: M1, and what is ignored', () => {
  it('M1 bears the ID_i and the RN_i handed in', () => {
    const state = nodeWith();
    const rnI = randomBytes(16);
    const attempt = beginAttempt(state, rnI, GENERATED_AT);
    expect(attempt).toMatchObject({ awaiting: 'M4', rnI, generatedAt: GENERATED_AT });
    expect(decodeM1(attempt.m1)).toEqual({ idI: state.idI, rnI });
  });

  const state = nodeWith([1000]);
  const attempt = begin(state);
  const right = m4Under(state.confirmed, attempt);

  it.each<[string, Uint8Array, string]>([
    ['nothing', new Uint8Array(0), 'not an M4'],
    ['an M1', attempt.m1, 'not an M4'],
    ['one octet more', Uint8Array.from([...right, 0]), 'not an M4'],
    ['a flipped tag', flipped(right, right.length * 8 - 1), 'does not open'],
    ['a key the node never had', m4Under(secret(9), attempt), 'does not open'],
    ['the M1 of another attempt', m4Under(state.confirmed, attempt, { m1: begin(state).m1 }), 'does not open'],
    ['another RN_i inside', m4Under(state.confirmed, attempt, { rnI: randomBytes(16) }), 'bears the RN_i'],
  ])('an M4 that is or has %s is ignored', (_, octets, why) => {
    const decision = receiveM4(state, attempt, octets, ARRIVED_AT);
    expect(decision).toEqual({ kind: 'ignored', reason: expect.stringContaining(why) as string });
  });

  it('an M4 that has a controller not ordered for is ignored, and that one is named', () => {
    expect(receiveM4(state, attempt, m4Under(state.confirmed, attempt, { idC: 3 }), ARRIVED_AT)).toEqual({
      kind: 'ignored',
      reason: expect.stringContaining('not ordered for') as string,
      foreign: 3,
    });
  });

  it('the right one still counts after them', () => {
    expect(receiveM4(state, attempt, right, ARRIVED_AT)).toMatchObject({ kind: 'store' });
  });
});

describe('rule 2: which key opens M4', () => {
  it.each([CONTROLLER, OTHER_CONTROLLER])('any controller ordered for may answer: %i', (idC) => {
    expect(proven(nodeWith(), { idC }).attempt.idC).toBe(idC);
  });

  it('the confirmed key comes before a candidate with the same octets', () => {
    const state = nodeWith();
    const twin: Candidate = { psk: Secret.from(state.confirmed.expose()), storedAt: 0 };
    expect(proven({ ...state, candidates: [twin] }).promoted).toBe(false);
  });

  it('the newest candidate comes before an older one with the same octets', () => {
    const [older, newer] = [secret(5), secret(5)];
    const candidates = [older, newer].map((psk, storedAt) => ({ psk, storedAt }));
    const { state } = proven({ ...nodeWith(), candidates }, {}, newer);
    expect(state.confirmed).toBe(newer);
  });

  it('an M4 for the candidates opens from a Buffer too, after the confirmed key did not open it', () => {
    const state = nodeWith([1000]);
    const attempt = begin(state);
    const m4 = Buffer.from(m4Under(state.candidates[0]!.psk, attempt));
    expect(receiveM4(state, attempt, m4, ARRIVED_AT)).toMatchObject({ kind: 'store', promoted: true });
  });
});

describe('rule 2 for a node whose installer named no controller (docs/PROTOCOL.md, "Deviations")', () => {
  it('any controller may answer', () => {
    expect(proven({ ...nodeWith(), controllers: 'any' }, { idC: 0xffff_ffff }).attempt.idC).toBe(0xffff_ffff);
  });

  it('one that proves nothing may not', () => {
    const state: NodeState = { ...nodeWith(), controllers: 'any' };
    const attempt = begin(state);
    expect(receiveM4(state, attempt, m4Under(secret(9), attempt), ARRIVED_AT).kind).toBe('ignored');
  });

  it.each([CONTROLLER, 0, 0xffff_ffff])('an empty list is another thing: no controller may answer, not %i either', (idC) => {
    const state = { ...nodeWith(), controllers: [] };
    const attempt = begin(state);
    expect(receiveM4(state, attempt, m4Under(state.confirmed, attempt, { idC }), ARRIVED_AT)).toEqual({
      kind: 'ignored',
      reason: expect.stringContaining('not ordered for') as string,
      foreign: idC,
    });
  });
});

describe('rule 3: what is stored before M5', () => {
  it('M5 proves the PSK of this RN_i and RN_c, to this controller and transaction', () => {
    const state = nodeWith();
    const attempt = begin(state);
    const rnC = randomBytes(16);
    const decision = stored(receiveM4(state, attempt, m4Under(state.confirmed, attempt, { rnC }), ARRIVED_AT));
    const psk = derivePsk(state.confirmed, attempt.rnI, rnC);
    const { tid, c5 } = decodeM5(decision.m5);
    expect(tid).toBe(TID);
    expect(openC5({ idC: CONTROLLER, tid, m1Octets: attempt.m1 }, c5, psk)).toEqual(rnC);
    expect(decision.attempt).toMatchObject({ awaiting: 'M6', idC: CONTROLLER, tid: TID, m5: decision.m5 });
    expect(decision.state.candidates).toEqual([{ psk, storedAt: ARRIVED_AT }]);
  });

  it.each([0, 1, 2, 3])('under the confirmed key, with %i candidates open: one more, nothing else changes', (open) => {
    const before = nodeWith(Array.from({ length: open }, (_, i) => 10 - i));
    const { state, promoted, dropped, attempt } = proven(before);
    expect(state).toEqual({ ...before, candidates: [...before.candidates, { psk: attempt.psk, storedAt: ARRIVED_AT }] });
    expect([promoted, dropped]).toEqual([false, []]);
  });

  const open = [1, 2, 3, 4];
  it.each(open.flatMap((n) => open.slice(0, n).map((nth) => [nth, n] as const)))(
    'under candidate %i of %i: it is promoted, all else is dropped, the new PSK is the only candidate',
    (nth, n) => {
      const before = nodeWith(open.slice(0, n));
      const promotedKey = before.candidates[nth - 1]!.psk;
      const rnC = randomBytes(16);
      const { state, promoted, dropped, attempt, m1 } = proven(before, { rnC }, promotedKey);
      const others = before.candidates.map((c) => c.psk).filter((psk) => psk !== promotedKey);
      expect(promoted).toBe(true);
      expect(attempt.psk).toEqual(derivePsk(promotedKey, decodeM1(m1).rnI, rnC));
      expect(state).toEqual({
        ...before,
        confirmed: promotedKey,
        initial: false,
        candidates: [{ psk: attempt.psk, storedAt: ARRIVED_AT }],
      });
      expectTheVery(dropped, [before.confirmed, ...others]);
    },
  );

  it('a promotion drops the old keys and keeps the two that are held: wiping one set leaves the other', () => {
    const before = nodeWith([1, 2]);
    const { state, dropped } = proven(before, {}, before.candidates[0]!.psk);
    for (const key of dropped) key.wipe();
    expect([state.confirmed, ...state.candidates.map((c) => c.psk)].map((key) => key.toHex())).toHaveLength(2);
  });
});

describe('rule 4: four candidates open, and M4 under the confirmed key', () => {
  it.each([300_000, 300_001, 900_000])('the oldest of %i ms makes room', (age) => {
    const before = nodeWith([age, 3, 2, 1]);
    const { state, promoted, dropped, attempt } = proven(before);
    expectTheVery(dropped, [before.candidates[0]!.psk]);
    expect(promoted).toBe(false);
    expect(state).toEqual({
      ...before,
      candidates: [...before.candidates.slice(1), { psk: attempt.psk, storedAt: ARRIVED_AT }],
    });
  });

  it.each([
    [299_999, 1],
    [100_000, 200_000],
    [0, 300_000],
  ])('the oldest of %i ms does not: the attempt ends, and %i ms are to wait', (age, forMs) => {
    const state = nodeWith([age, 0, 0, 0]);
    const attempt = begin(state);
    const decision = receiveM4(state, attempt, m4Under(state.confirmed, attempt), ARRIVED_AT);
    expect(decision).toEqual({ kind: 'wait', forMs });
  });

  it('its age counts when RN_i was drawn, however late M4 comes', () => {
    const state = nodeWith([299_999, 0, 0, 0]);
    const attempt = begin(state);
    expect(receiveM4(state, attempt, m4Under(state.confirmed, attempt), GENERATED_AT + 3_600_000).kind).toBe('wait');
  });

  it('waiting wipes no key that is held', () => {
    const state = nodeWith([0, 0, 0, 0]);
    const attempt = begin(state);
    receiveM4(state, attempt, m4Under(state.confirmed, attempt), ARRIVED_AT);
    expect(() => [state.confirmed, ...state.candidates.map((c) => c.psk)].map((key) => key.expose())).not.toThrow();
  });

  it('after a clock that was saved too early no candidate counts as old', () => {
    const state = nodeWith([-5000, -4000, -3000, -2000]);
    const attempt = begin(state);
    const decision = receiveM4(state, attempt, m4Under(state.confirmed, attempt), ARRIVED_AT);
    expect(decision).toEqual({ kind: 'wait', forMs: 305_000 });
  });

  it('an M4 under a candidate resolves the matter, however young they are', () => {
    const state = nodeWith([0, 0, 0, 0]);
    expect(proven(state, {}, state.candidates[2]!.psk).promoted).toBe(true);
  });
});

describe('rule 5: M6', () => {
  it.each([0, 1, 3])('of the attempt in progress: joined, with %i older candidates dropped', (open) => {
    const before = nodeWith(Array.from({ length: open }, () => 10));
    const { state, attempt } = proven(before);
    const decision = joined(receiveM6(state, attempt, m6For(attempt, 86_400)));
    expect(decision.lifetime).toBe(86_400);
    expect(decision.state).toEqual({ ...before, confirmed: attempt.psk, initial: false, candidates: [] });
    expectTheVery(decision.dropped, [before.confirmed, ...before.candidates.map((c) => c.psk)]);
  });

  it('a second copy changes nothing and drops nothing', () => {
    const { state, attempt } = proven(nodeWith([10]));
    const first = joined(receiveM6(state, attempt, m6For(attempt)));
    for (const key of first.dropped) key.wipe();
    expect(receiveM6(first.state, attempt, m6For(attempt))).toEqual({ ...first, dropped: [] });
  });

  it('with the state read back from its file: what is dropped is not the key that is confirmed', () => {
    const { state, attempt } = proven(nodeWith([10]));
    const reread = { ...state, candidates: state.candidates.map((c) => ({ ...c, psk: Secret.from(c.psk.expose()) })) };
    const decision = joined(receiveM6(reread, attempt, m6For(attempt)));
    for (const key of decision.dropped) key.wipe();
    expect(decision.state.confirmed.toHex()).toBe(state.candidates.at(-1)!.psk.toHex());
  });

  const before = nodeWith();
  const first = proven(before);
  const second = proven(first.state, { tid: TID + 1n });
  const right = m6For(second.attempt);

  it.each<[string, Uint8Array]>([
    ['nothing: a bare 2.04', new Uint8Array(0)],
    ['one octet more', Uint8Array.from([...right, 0])],
    ['a flipped tag', flipped(right, right.length * 8 - 1)],
    ['of an earlier attempt', m6For(first.attempt)],
    ['of another controller', m6For({ ...second.attempt, idC: OTHER_CONTROLLER })],
    ['of another transaction', m6For({ ...second.attempt, tid: TID })],
    ['for another M5', m6For({ ...second.attempt, m5: first.m5 })],
    ['under the old key', m6For({ ...second.attempt, psk: before.confirmed })],
    ['an M4', m4Under(before.confirmed, begin(before))],
  ])('that is or has %s is ignored', (_, octets) => {
    const decision = receiveM6(second.state, second.attempt, octets);
    expect(decision).toEqual({ kind: 'ignored', reason: 'not an M6 that opens in this attempt' });
  });

  it('the right one still counts after them', () => {
    expect(receiveM6(second.state, second.attempt, right).kind).toBe('joined');
  });
});

describe('rule 6: when to try again', () => {
  const uniform = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
  const failures = fc.integer({ min: 1, max: 5000 });

  it('back-off lies between 0 and a ceiling that doubles from 5 s to 10 min', () => {
    fc.assert(
      fc.property(failures, uniform, (n, u) => {
        const wait = backOff(n, u);
        expect(wait).toBeGreaterThanOrEqual(0);
        expect(wait).toBeLessThanOrEqual(Math.min(600_000, 5000 * 2 ** (n - 1)));
      }),
    );
  });

  it.each([
    [1, 5_000],
    [2, 10_000],
    [3, 20_000],
    [7, 320_000],
    [8, 600_000],
    [5000, 600_000],
  ])('after %i failures the whole of 0 to %i ms can be drawn', (n, ceiling) => {
    expect([0, 0.5, 1 - Number.EPSILON].map((u) => backOff(n, u))).toEqual([0, ceiling / 2, ceiling]);
  });

  it('a Max-Age is waited for, for 10 min at most, and never shortens the back-off', () => {
    fc.assert(
      fc.property(failures, uniform, fc.integer({ min: 0, max: 0xffff_ffff }), (n, u, maxAge) => {
        expect(backOff(n, u, maxAge)).toBe(Math.max(backOff(n, u), Math.min(maxAge, 600) * 1000));
      }),
    );
  });
});
