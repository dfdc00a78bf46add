// Proves the auth-server whole, on a real registry: what it answers to M2 and M7, in which order it
// refuses, and that no key is logged.

import { allOf, InDoubt } from '@latchkey/registry';
import { encodeM1, type ServerNodeRecord, type Clocks, type Secret } from '@latchkey/protocol';
import { randomBytes } from 'node:crypto';
import { describe, expect, it, vi } from 'vitest';
import { Failure } from '@latchkey/runtime/failure';
import { CapturedLog } from '@latchkey/test-support/fixtures';
import { AuthServer } from '../src/server/auth-server.js';
import type { LinkAnswer } from '../src/server/link-answer.js';
import type { Registry } from '@latchkey/registry';
import { addController, stageControllerKey, controllersWithOldKeys, releaseRanges, holdoffUntil } from '@latchkey/operations';
import {
  addNodes,
  commitTo,
  controller,
  copyOf,
  Exchange,
  ID_C,
  newNode,
  newRegistry,
  newSecret,
  NID,
  secretsMade,
  WALL,
} from '@latchkey/test-support/registry-fixtures';

const ID_I = 0xa1b2;
const SK_CS = newSecret();

interface TestSetup {
  readonly registry: Registry;
  readonly server: AuthServer;
  readonly log: CapturedLog;
  /** The server's clocks; set them. */
  readonly now: { wallMs: number; monotonicMs: number };
}

async function newTestSetup(nodes: readonly ServerNodeRecord[] = [], clock?: (now: Clocks) => Clocks): Promise<TestSetup> {
  const registry = await newRegistry();
  await addController(registry, controller({ skCs: copyOf(SK_CS), addedAt: WALL - 1_000_000 }));
  await addNodes(registry, nodes);
  return { registry, ...serverOn(registry, clock) };
}

/** A server as it starts on this registry. */
function serverOn(
  registry: Registry,
  clock: (now: Clocks) => Clocks = (now) => ({ ...now }),
  start: Clocks = { wallMs: WALL, monotonicMs: 1_000_000 },
): Omit<TestSetup, 'registry'> {
  const log = new CapturedLog();
  const now = { ...start };
  return { server: new AuthServer({ registry, clock: () => clock(now), randomBytes, log: log.log }), log, now };
}

function exchange(key: Secret, more: Partial<ConstructorParameters<typeof Exchange>[0]> = {}): Exchange {
  return new Exchange({ idI: ID_I, key, skCs: SK_CS, ...more });
}

/** The reason in the M9 that refuses, with the code it came under. */
function refusal(asked: Exchange, request: 'm2' | 'm7', { code, payload }: LinkAnswer): string {
  const m9 = asked.openM9(payload, request);
  return m9 === undefined
    ? `${code} and no M9 that opens`
    : `${code} ${m9.reason} ${m9.idI === ID_I ? 'of the node' : 'of another'}`;
}

describe('M2', () => {
  it('is answered with the key the registry holds, and changes nothing', async () => {
    const node = newNode(ID_I);
    const { server, registry } = await newTestSetup([node]);
    const asked = exchange(node.key);
    const answer = await server.answer(asked.m2);
    expect([answer.code, answer.maxAge]).toEqual(['2.04', undefined]);
    expect(asked.openM3(answer.payload)).toEqual({ key: node.key.toHex(), idI: ID_I });
    expect(await registry.node(ID_I)).toMatchObject({ initial: true });
    expect((await registry.node(ID_I))?.committed).toBeUndefined();
  });

  it('is answered the same again, sealed anew', async () => {
    const node = newNode(ID_I);
    const { server } = await newTestSetup([node]);
    const asked = exchange(node.key);
    const [one, two] = [await server.answer(asked.m2), await server.answer(asked.m2)];
    expect(asked.openM3(two.payload)).toEqual(asked.openM3(one.payload));
    expect(two.payload).not.toEqual(one.payload);
  });

  it('is answered with the new key once that is committed', async () => {
    const node = newNode(ID_I);
    const { server } = await newTestSetup([node]);
    const first = exchange(node.key);
    await server.answer(first.m7);
    const next = exchange(first.psk);
    expect(next.openM3((await server.answer(next.m2)).payload)).toEqual({ key: first.psk.toHex(), idI: ID_I });
  });
});

describe('a controller', () => {
  it('is read for its first request, and for one whose node does not tell of it', async () => {
    const node = newNode(ID_I);
    const { server, registry } = await newTestSetup([node]);
    const reads = vi.spyOn(registry, 'readController');
    const readsOf = async (octets: Uint8Array): Promise<number> => {
      reads.mockClear();
      await server.answer(octets);
      return reads.mock.calls.length;
    };
    const asked = exchange(node.key);
    expect([await readsOf(asked.m2), await readsOf(asked.m7), await readsOf(asked.m7)]).toEqual([1, 0, 0]);
    const next = exchange(asked.psk);
    expect([await readsOf(next.m2), await readsOf(next.m7)]).toEqual([0, 0]);
    expect(await readsOf(exchange(newSecret(), { idI: ID_I + 1 }).m2)).toBe(1);
    expect(await readsOf(exchange(next.psk, { skCs: newSecret() }).m2)).toBe(1);
    await stageControllerKey(registry, ID_C, newSecret());
    const last = exchange(next.psk);
    expect([await readsOf(last.m2), await readsOf(last.m7)]).toEqual([1, 0]);
  });
});

describe('M7', () => {
  it('replaces the key, and is answered with the lifetime once it has', async () => {
    const node = newNode(ID_I, { lifetime: 86_400 });
    const { server, registry } = await newTestSetup([node]);
    const asked = exchange(node.key);
    const answer = await server.answer(asked.m7);
    expect(answer.code).toBe('2.04');
    expect(asked.openM8(answer.payload)).toEqual({ idI: ID_I, lifetime: 86_400 });
    const now = (await registry.node(ID_I))!;
    expect(now.key.toHex()).toBe(asked.psk.toHex());
    expect(now).toMatchObject({
      initial: false,
      committedAt: WALL,
      committed: { idC: ID_C, tid: asked.tid, ts: WALL, lifetime: 86_400 },
    });
    expect(Uint8Array.from(now.committed!.nidI)).toEqual(NID);
  });

  it('that was committed last is answered again, with the lifetime that was stored, and stored once', async () => {
    const node = newNode(ID_I, { lifetime: 3_600 });
    const { server, registry, now } = await newTestSetup([node]);
    const asked = exchange(node.key);
    // As by a server at a time when the node's lifetime was another.
    const commit = { tid: asked.tid, ts: WALL, lifetime: 77 };
    expect(await commitTo(registry, await registry.node(ID_I), asked.psk, commit)).toBe('committed');
    now.wallMs += 5_000;
    const [one, two] = [await server.answer(asked.m7), await server.answer(asked.m7)];
    expect([asked.openM8(one.payload), asked.openM8(two.payload)]).toEqual([
      { idI: ID_I, lifetime: 77 },
      { idI: ID_I, lifetime: 77 },
    ]);
    expect(two.payload).not.toEqual(one.payload);
    expect((await registry.node(ID_I))?.committedAt).toBe(WALL);
  });

  it('that comes many times at once is committed once and answered each time', async () => {
    const node = newNode(ID_I);
    const { server, log } = await newTestSetup([node]);
    const asked = exchange(node.key);
    const answers = await Promise.all(Array.from({ length: 20 }, () => server.answer(asked.m7)));
    for (const { payload } of answers) expect(asked.openM8(payload)).toEqual({ idI: ID_I, lifetime: 3_600 });
    expect(log.withMessage('node has a new key')).toHaveLength(1);
  });

  it('that loses its comparison is judged anew: one of two transactions of a node wins', async () => {
    const node = newNode(ID_I);
    const { server, registry } = await newTestSetup([node]);
    const [one, two] = [exchange(node.key), exchange(node.key)];
    const [first, second] = await Promise.all([server.answer(one.m7), server.answer(two.m7)]);
    expect(one.openM8(first.payload)).toEqual({ idI: ID_I, lifetime: 3_600 });
    expect(refusal(two, 'm7', second)).toBe('4.01 7 of the node');
    expect((await registry.node(ID_I))?.key.toHex()).toBe(one.psk.toHex());
  });

  it('of a transaction before the last one is refused', async () => {
    const node = newNode(ID_I);
    const { server } = await newTestSetup([node]);
    const first = exchange(node.key);
    await server.answer(first.m7);
    const second = exchange(first.psk);
    await server.answer(second.m7);
    expect(refusal(first, 'm7', await server.answer(first.m7))).toBe('4.01 7 of the node');
  });

  it('whose time is over by the time the store looks is refused by the clock', async () => {
    const node = newNode(ID_I);
    let looks = 0;
    // In time when it is judged, two minutes later when it is written.
    const { server, registry } = await newTestSetup([node], (now) => ({
      ...now,
      wallMs: now.wallMs + (++looks > 4 ? 120_000 : 0),
    }));
    const asked = exchange(node.key);
    expect(refusal(asked, 'm7', await server.answer(asked.m7))).toBe('5.03 6 of the node');
    expect(await registry.node(ID_I)).toMatchObject({ initial: true });
  });

  it('is refused for the moment where a thousand commits are under way', async () => {
    const nodes = Array.from({ length: 1_030 }, (_, i) => newNode(i));
    const { server } = await newTestSetup(nodes);
    const asked = nodes.map(({ idI, key }) => exchange(key, { idI }));
    const made = secretsMade();
    const answers = await Promise.all(asked.map(({ m7 }) => server.answer(m7)));
    // All but SK_cs, which stays open.
    expect(made().filter((shown) => shown !== '[secret wiped]')).toEqual([String(SK_CS)]);
    const refused = answers.filter(({ code }) => code !== '2.04');
    expect(refused).toHaveLength(6);
    refused.forEach(({ code, maxAge, payload }, i) => {
      expect([code, maxAge, asked[1_024 + i]!.openM9(payload, 'm7')]).toEqual(['5.03', 10, { reason: 8, idI: 1_024 + i }]);
    });
    expect(asked[1_029]!.openM8((await server.answer(asked[1_029]!.m7)).payload)).toBeDefined();
  });
});

describe('a request is refused', () => {
  const expired = { idC: 9, tid: 1n, ts: WALL - 200_000, nidI: NID, lifetime: 100 };

  /** Each row mends what the row before was refused for: so the order is proven too. */
  it('for the first of all the reasons there are, in the order of the profile', async () => {
    const joined: ServerNodeRecord = newNode(ID_I, { grace: 99, controller: 2, disabled: true });
    const psk = newSecret();
    const ask = async (node: ServerNodeRecord | undefined, ts: number, key: Secret): Promise<string[]> => {
      const { server, registry } = await newTestSetup(node === undefined ? [] : [node]);
      if (node !== undefined) await commitTo(registry, await registry.node(ID_I), psk, expired);
      const asked = exchange(key, { ts });
      return [refusal(asked, 'm2', await server.answer(asked.m2)), refusal(asked, 'm7', await server.answer(asked.m7))];
    };
    const wrong = newSecret();
    expect(await ask(undefined, WALL - 90_001, wrong)).toEqual(['5.03 6 of the node', '5.03 6 of the node']);
    expect(await ask(undefined, WALL, wrong)).toEqual(['4.03 1 of the node', '4.03 1 of the node']);
    expect(await ask(joined, WALL, wrong)).toEqual(['4.03 2 of the node', '4.03 2 of the node']);
    expect(await ask({ ...joined, controller: ID_C }, WALL, wrong)).toEqual(['4.03 3 of the node', '4.03 3 of the node']);
    expect(await ask({ ...joined, controller: ID_C, disabled: false }, WALL, wrong)).toEqual([
      '4.03 5 of the node',
      '4.03 5 of the node',
    ]);
    const renewable = { ...joined, controller: ID_C, disabled: false, grace: 100 };
    expect((await ask(renewable, WALL, wrong))[1]).toBe('4.01 7 of the node');
    expect(await ask(renewable, WALL, psk)).toEqual(['2.04 and no M9 that opens', '2.04 and no M9 that opens']);
  });

  it.each([
    ['before', { joinFrom: WALL + 1 }],
    ['after', { joinUntil: WALL - 1 }],
  ])('%s the join window of a node that has its initial key', async (_, window) => {
    const node = newNode(ID_I, window);
    const { server } = await newTestSetup([node]);
    const asked = exchange(node.key);
    expect(refusal(asked, 'm2', await server.answer(asked.m2))).toBe('4.03 4 of the node');
    expect(refusal(asked, 'm7', await server.answer(asked.m7))).toBe('4.03 4 of the node');
    const wrong = exchange(newSecret());
    expect(refusal(wrong, 'm7', await server.answer(wrong.m7))).toBe('4.03 4 of the node');
  });

  it.each([
    ['m2', -30_001, false],
    ['m2', -30_000, true],
    ['m2', 30_000, true],
    ['m2', 30_001, false],
    ['m7', -90_001, false],
    ['m7', -90_000, true],
    ['m7', 30_000, true],
    ['m7', 30_001, false],
  ] as const)('where the time of %s is %i ms from ours: accepted is %s', async (request, ahead, accepted) => {
    const node = newNode(ID_I);
    const { server } = await newTestSetup([node]);
    const asked = exchange(node.key, { ts: WALL + ahead });
    const answer = await server.answer(asked[request]);
    expect(refusal(asked, request, answer)).toBe(accepted ? '2.04 and no M9 that opens' : '5.03 6 of the node');
  });

  it.each(['m2', 'm7'] as const)('with a bare 4.01 where %s comes from a controller nobody knows', async (request) => {
    const { server, log } = await newTestSetup([newNode(ID_I)]);
    const asked = exchange(newSecret(), { idC: 0xdead });
    expect(await server.answer(asked[request])).toEqual({ code: '4.01' });
    expect(log.withMessage(`${request.toUpperCase()} from a controller the registry does not have`)).toMatchObject([
      { controller: '0000dead' },
    ]);
  });

  it.each(['m2', 'm7'] as const)('with a bare 4.01 where %s is sealed under another SK_cs', async (request) => {
    const node = newNode(ID_I);
    const { server } = await newTestSetup([node]);
    const asked = exchange(node.key, { skCs: newSecret() });
    expect(await server.answer(asked[request])).toEqual({ code: '4.01' });
  });

  it.each(['m2', 'm7'] as const)('with a bare 4.01 where the SK_cs of %s held at the request before', async (request) => {
    const node = newNode(ID_I);
    const { server, registry } = await newTestSetup([node]);
    const asked = exchange(node.key);
    expect((await server.answer(asked.m2)).code).toBe('2.04');
    const next = newSecret();
    await stageControllerKey(registry, ID_C, copyOf(next));
    await registry.activateStagedKey(ID_C, next);
    expect(await server.answer(asked[request])).toEqual({ code: '4.01' });
    expect((await registry.node(ID_I))?.committed).toBeUndefined();
    const renewed = exchange(node.key, { skCs: next });
    expect(renewed.openM3((await server.answer(renewed.m2)).payload)?.key).toBe(node.key.toHex());
  });

  it.each(['m2', 'm7'] as const)('with a bare 4.01 where the M1 in %s is not one', async (request) => {
    const node = newNode(ID_I);
    const { server } = await newTestSetup([node]);
    const m1Octets = encodeM1({ idI: ID_I, rnI: randomBytes(16) });
    m1Octets[0] = 0x14;
    expect(await server.answer(exchange(node.key, { m1Octets })[request])).toEqual({ code: '4.01' });
  });

  it('with a bare 4.01 where one bit of it is another', async () => {
    const node = newNode(ID_I);
    const { server } = await newTestSetup([node]);
    const { m7 } = exchange(node.key);
    for (let bit = 8; bit < m7.length * 8; bit += 7) {
      const changed = Uint8Array.from(m7);
      changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      expect(await server.answer(changed)).toEqual({ code: '4.01' });
    }
  });

  it('with a bare 4.00 where it is no message of the link', async () => {
    const node = newNode(ID_I);
    const { server } = await newTestSetup([node]);
    const { m2, m7 } = exchange(node.key);
    const first = (octets: Uint8Array, octet: number): Uint8Array => Uint8Array.of(octet, ...octets.subarray(1));
    const bad = [
      new Uint8Array(0),
      m2.subarray(0, -1),
      Uint8Array.of(...m2, 0),
      m7.subarray(0, -1),
      first(m2, 0x17),
      first(m7, 0x12),
      first(m2, 0x22),
      first(m2, 0x13),
    ];
    for (const octets of bad) expect(await server.answer(octets)).toEqual({ code: '4.00' });
  });
});

describe('a clock that was set back', () => {
  it('has M7 refused for five minutes, and M2 answered', async () => {
    const node = newNode(ID_I);
    const { server, registry, now, log } = await newTestSetup([node]);
    now.wallMs -= 10_000;
    const asked = exchange(node.key, { ts: WALL - 10_000 });
    const refused = await server.answer(asked.m7);
    expect([refusal(asked, 'm7', refused), refused.maxAge]).toEqual(['5.03 8 of the node', 10]);
    // The wire has one reason for all that passes; the log tells this one.
    expect(log.withMessage('refused: the clock was set back less than five minutes ago')).toMatchObject([
      { node: '0000a1b2', reason: 8 },
    ]);
    expect(log.text).not.toContain('bounds on work');
    expect((await server.answer(asked.m2)).code).toBe('2.04');
    expect(await registry.node(ID_I)).toMatchObject({ initial: true });

    now.wallMs += 300_000;
    now.monotonicMs += 300_000;
    const later = exchange(node.key, { ts: now.wallMs });
    expect(later.openM8((await server.answer(later.m7)).payload)).toBeDefined();
  });

  it('is noticed across a restart, from the latest time a commit saw', async () => {
    const node = newNode(ID_I);
    const { server, registry } = await newTestSetup([node]);
    const first = exchange(node.key);
    await server.answer(first.m7);

    const restarted = serverOn(registry, (now) => ({ ...now, wallMs: now.wallMs - 10_000 }));
    expect(restarted.log.withMessage('the clock was set back: no key is committed for five minutes')).toHaveLength(1);
    const second = exchange(first.psk, { ts: WALL - 10_000 });
    expect(refusal(second, 'm7', await restarted.server.answer(second.m7))).toBe('5.03 8 of the node');
    // The commit of before is no new one.
    expect(first.openM8((await restarted.server.answer(first.m7)).payload)).toBeDefined();
  });

  it('has no M7 from before committed, however far the clock was set back, and however late it comes', async () => {
    const node = newNode(ID_I);
    const { server, registry, now, log } = await newTestSetup([node]);
    const pass = (ms: number): void => {
      now.wallMs += ms;
      now.monotonicMs += ms;
    };
    const keptBack = exchange(node.key, { ts: now.wallMs });
    expect((await server.answer(keptBack.m2)).code).toBe('2.04');
    pass(10_000);
    now.wallMs -= 3_600_000;
    await server.persistClock();
    pass(3_565_000);
    for (const ms of [0, 40_000, 40_000]) {
      pass(ms);
      expect(refusal(keptBack, 'm7', await server.answer(keptBack.m7))).toBe('5.03 8 of the node');
    }
    const [from, shownUntil] = [WALL, WALL + 60_000].map((ms) => new Date(ms).toISOString());
    expect(log.withMessage('no key is committed while the clock shows times that it has shown before')).toMatchObject([
      { spans: [{ from, until: shownUntil }] },
    ]);
    // The first that cannot be from before.
    const until = WALL + 90_000;
    pass(until + 1 - now.wallMs);
    const last = exchange(node.key, { ts: until });
    expect(refusal(last, 'm7', await server.answer(last.m7))).toBe('5.03 8 of the node');
    const later = exchange(node.key, { ts: until + 1 });
    expect(later.openM8((await server.answer(later.m7)).payload)).toBeDefined();
    expect(
      (await allOf(registry.audit.newestFirst())).some(
        ({ what, note }) => what === 'clock discontinuity' && note === 'the clock was set back',
      ),
    ).toBe(true);
  });

  it('from far ahead has keys committed again after five minutes, and none once it comes there again', async () => {
    const year = 31_536_000_000;
    const [one, two] = [newNode(ID_I), newNode(ID_I + 1)];
    const { server, now } = await newTestSetup([one, two]);
    await server.persistClock();
    now.wallMs += year;
    await server.persistClock();
    now.wallMs -= year;
    await server.persistClock();
    now.wallMs += 300_000;
    now.monotonicMs += 300_000;
    const joins = exchange(one.key, { ts: now.wallMs });
    expect(joins.openM8((await server.answer(joins.m7)).payload)).toBeDefined();
    now.wallMs = WALL + year;
    now.monotonicMs += year;
    const refused = exchange(two.key, { idI: ID_I + 1, ts: now.wallMs });
    expect((await server.answer(refused.m7)).code).toBe('5.03');
  });

  it('lets no M7 from before the machine was off count, whose clock stood still', async () => {
    const node = newNode(ID_I);
    const { server, registry } = await newTestSetup([node]);
    const keptBack = exchange(node.key);
    await server.answer(keptBack.m2);
    const restarted = serverOn(registry, undefined, { wallMs: WALL + 1_000, monotonicMs: 20_000 });
    expect(restarted.log.withMessage('the clock was set back: no key is committed for five minutes')).toEqual([]);
    expect(refusal(keptBack, 'm7', await restarted.server.answer(keptBack.m7))).toBe('5.03 8 of the node');
    const { now } = restarted;
    now.wallMs += 90_000;
    now.monotonicMs += 90_000;
    const later = exchange(node.key, { ts: now.wallMs });
    expect(later.openM8((await restarted.server.answer(later.m7)).payload)).toBeDefined();
  });

  it('is told of as long as nothing is committed, also by who looks at the registry', async () => {
    const { server, registry, now } = await newTestSetup();
    await server.persistClock();
    expect(holdoffUntil(registry.clockHistory, now)).toBeUndefined();
    now.wallMs -= 10_000;
    // It will be noticed, and then it is.
    expect(holdoffUntil(registry.clockHistory, now)).toBe(now.wallMs + 300_000);
    await server.persistClock();
    now.wallMs += 100_000;
    now.monotonicMs += 100_000;
    expect(holdoffUntil(registry.clockHistory, now)).toBe(now.wallMs + 200_000);
    // Set right again it waits all the same.
    expect(holdoffUntil(registry.clockHistory, { ...now, wallMs: now.wallMs + 3_600_000 })).toBe(now.wallMs + 3_800_000);
    now.wallMs += 200_000;
    now.monotonicMs += 200_000;
    expect(holdoffUntil(registry.clockHistory, now)).toBeUndefined();
    // Of a machine that was started anew the monotonic clock tells nothing.
    expect(holdoffUntil(registry.clockHistory, { wallMs: now.wallMs, monotonicMs: 1_000 })).toBeUndefined();
  });

  it('does not matter to a server that starts again where the clock ran on', async () => {
    const node = newNode(ID_I);
    const { server, registry } = await newTestSetup([node]);
    const asked = exchange(node.key);
    await server.answer(asked.m2);
    const restarted = serverOn(registry, undefined, { wallMs: WALL + 5_000, monotonicMs: 1_005_000 });
    expect(asked.openM8((await restarted.server.answer(asked.m7)).payload)).toBeDefined();
  });

  it('is not asked for a time that the disk did not keep', async () => {
    const node = newNode(ID_I);
    const { server, registry, now } = await newTestSetup([node]);
    const first = exchange(node.key);
    expect((await server.answer(first.m2)).code).toBe('2.04');
    const keepTimes = registry.saveClockHistory.bind(registry);
    registry.saveClockHistory = (): Promise<never> => Promise.reject(new Failure('the disk is full', { advice: 'Make room.' }));
    now.wallMs += 60_001;
    now.monotonicMs += 60_001;
    const second = exchange(node.key, { ts: now.wallMs });
    expect(refusal(second, 'm2', await server.answer(second.m2))).toBe('5.03 9 of the node');
    registry.saveClockHistory = keepTimes;
    expect((await server.answer(second.m2)).code).toBe('2.04');
  });

  describe('whose write ends in doubt', () => {
    interface Doubted extends TestSetup {
      readonly node: ServerNodeRecord;
      readonly discontinuities: () => Promise<number>;
      /** What becomes of the next write, which ends in doubt. */
      readonly doubt: (isDone: boolean) => void;
    }

    async function newDoubtedSetup(): Promise<Doubted> {
      const node = newNode(ID_I);
      const setup = await newTestSetup([node]);
      const { registry, server, now } = setup;
      const save = registry.saveClockHistory.bind(registry);
      const doubt = (isDone: boolean): void => {
        registry.saveClockHistory = async (...given) => {
          registry.saveClockHistory = save;
          if (isDone) await save(...given);
          throw new InDoubt('the database is gone', { advice: 'Look.' });
        };
      };
      const discontinuities = async (): Promise<number> =>
        (await allOf(registry.audit.newestFirst())).filter(({ what }) => what === 'clock discontinuity').length;
      await server.persistClock();
      now.wallMs -= 3_600_000;
      return { ...setup, node, discontinuities, doubt };
    }

    const pass = (now: { wallMs: number; monotonicMs: number }, ms: number): void => {
      now.wallMs += ms;
      now.monotonicMs += ms;
    };

    it.each([
      ['and happened', true],
      ['and did not happen', false],
    ])('%s, is one break: an M7 counts again after five minutes', async (_, isDone) => {
      const { server, registry, now, node, discontinuities, doubt } = await newDoubtedSetup();
      doubt(isDone);
      await expect(server.persistClock()).rejects.toThrow('the database is gone');
      for (let seconds = 0; seconds < 300; seconds += 20) {
        pass(now, 20_000);
        await server.persistClock();
      }
      expect([await discontinuities(), registry.clockHistory.previous.length]).toEqual([1, 1]);
      const asked = exchange(node.key, { ts: now.wallMs });
      expect(asked.openM8((await server.answer(asked.m7)).payload)).toBeDefined();
    });

    it('counts the times before each of two breaks, though only the first was in doubt', async () => {
      const { server, registry, now, discontinuities, doubt } = await newDoubtedSetup();
      doubt(true);
      await expect(server.persistClock()).rejects.toThrow('the database is gone');
      pass(now, 20_000);
      now.wallMs -= 3_600_000;
      await server.persistClock();
      expect([await discontinuities(), registry.clockHistory.previous.length]).toEqual([2, 2]);
    });
  });

  it('is released by an administrator, whose word a running server takes', async () => {
    const node = newNode(ID_I);
    const { server, registry, now } = await newTestSetup([node]);
    for (let i = 0; i < 10; i++) {
      await server.persistClock();
      now.wallMs += 40_000;
      now.monotonicMs += 40_000;
    }
    now.wallMs -= 350_000;
    await server.persistClock();
    now.wallMs += 300_000;
    now.monotonicMs += 300_000;
    const asked = exchange(node.key, { ts: now.wallMs });
    expect(refusal(asked, 'm7', await server.answer(asked.m7))).toBe('5.03 8 of the node');
    expect(await controllersWithOldKeys(registry)).toEqual([ID_C]);
    expect(await releaseRanges(registry, now.wallMs)).toEqual([{ from: WALL, until: WALL + 420_000 }]);
    await server.persistClock();
    expect(asked.openM8((await server.answer(asked.m7)).payload)).toBeDefined();
    expect(await releaseRanges(registry, now.wallMs)).toEqual([]);
  });

  it('leaves nothing to fear from a controller whose SK_cs was replaced since', async () => {
    const { server, registry, now } = await newTestSetup();
    await server.persistClock();
    now.wallMs -= 3_600_000;
    await server.persistClock();
    const next = newSecret();
    await stageControllerKey(registry, ID_C, copyOf(next));
    expect(await controllersWithOldKeys(registry)).toEqual([ID_C]);
    await registry.activateStagedKey(ID_C, next);
    expect(await controllersWithOldKeys(registry)).toEqual([]);
  });
});

describe('the log', () => {
  it('has no key, nor what could give one, whatever happens', async () => {
    const node = newNode(ID_I);
    const { server, log } = await newTestSetup([node]);
    const asked = exchange(node.key);
    const stranger = exchange(newSecret(), { skCs: newSecret() });
    for (const { m2, m7 } of [asked, exchange(newSecret()), stranger]) {
      await server.answer(m2);
      await server.answer(m7);
      await server.answer(m7.subarray(1));
    }
    expect(log.lines.length).toBeGreaterThan(8);
    expect(log.withMessage('node has a new key')).toMatchObject([
      { node: '0000a1b2', keyBefore: node.key.fingerprint, key: asked.psk.fingerprint, at: '192.0.2.7:49152' },
    ]);
    for (const key of [node.key, asked.psk, SK_CS, stranger.psk]) {
      expect(log.text.toLowerCase()).not.toContain(key.toHex().slice(0, 8));
      expect(log.text).not.toContain(Buffer.from(key.expose()).toString('base64').slice(0, 8));
    }
  });

  it('is not filled by strangers', async () => {
    const { server, log } = await newTestSetup();
    for (let i = 0; i < 100; i++) await server.answer(exchange(newSecret(), { idC: i + 2 }).m2);
    expect(log.lines.filter(({ level }) => level === 'warn')).toHaveLength(20);
  });
});
