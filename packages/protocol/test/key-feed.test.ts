// The rules by which a controller keeps its keys true, against a registry that is only a model:
// whatever is lost, late or restored, after a complete answer the controller gives out what the
// registry has.

import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { KeyFeedClient, type KeyFeedPage } from '../src/key-feed-client.js';
import { decodeM12, type KeyFeedEntry, type M13, openM12 } from '../src/key-feed-messages.js';
import { feedEntryOf, KeyFeedLimiter, sealFeedAnswer, sealFeedRefusal } from '../src/key-feed-server.js';
import { afterEntry, afterJoin, isForgettable, type StoredNodeKeys, TOMBSTONE_MS } from '../src/node-keys.js';
import { deriveApplicationRoot, deriveKeyId } from '../src/psk.js';
import { Secret } from '../src/secret.js';
import type { ServerNodeRecord } from '../src/server.js';
import { secret, seededRandomBytes } from './fixtures.js';

const ID_C = 1;
const OTHER = 2;
const WALL = 1_800_000_000_000;
const NODES = 4;
const ENTRIES_PER_PAGE = 2;
const SK_CS = secret(7);
const OVERLAP_MS = 60_000;

interface ModelNode {
  key: number;
  initial: boolean;
  disabled: boolean;
  controller: number;
  tid: bigint;
}

/** A key by its number, so that equal numbers are equal keys. */
function keyOf(number: number): Secret {
  const octets = new Uint8Array(16);
  new DataView(octets.buffer).setUint32(0, number);
  return Secret.from(octets);
}

/** A registry with its log: which node each entry is about, and whose it was before. */
class ModelRegistry {
  nodes = new Map<number, ModelNode>();
  tids = new Map<number, bigint>();
  log: { readonly idI: number; readonly wasOurs: boolean }[] = [];
  incarnation = 1n;
  pruned = 0;
  nextKey = 1;
  backup: { nodes: Map<number, ModelNode>; tids: Map<number, bigint>; log: number } | undefined;

  change(idI: number, change: (node: ModelNode | undefined) => ModelNode | undefined): void {
    const before = this.nodes.get(idI);
    const after = change(before && { ...before });
    if (after === undefined) this.nodes.delete(idI);
    else this.nodes.set(idI, after);
    this.log.push({ idI, wasOurs: before?.controller === ID_C });
  }

  /** A cursor is incarnation, start or position, and the ID a walk goes on at, 0 outside walks. */
  answer(cursor: bigint): M13 {
    const [incarnation, position, next] = [cursor >> 48n, Number((cursor >> 24n) & 0xffffffn), Number(cursor & 0xffffffn)];
    const cursorOf = (at: number, from: number): bigint => (this.incarnation << 48n) | (BigInt(at) << 24n) | BigInt(from);
    if (cursor !== 0n && (incarnation !== this.incarnation || position < this.pruned))
      return { cursor: 0n, more: true, entries: [] };
    if (cursor === 0n || next > 0) {
      const start = cursor === 0n ? this.log.length : position;
      const ids = [...this.nodes.keys()].toSorted((a, b) => a - b);
      const due = ids.filter((id) => id >= next && this.nodes.get(id)?.controller === ID_C);
      const told = due.slice(0, ENTRIES_PER_PAGE);
      const more = due.length > told.length;
      return { cursor: cursorOf(start, more ? told.at(-1)! + 1 : 0), more, entries: told.map((id) => this.entry(id)) };
    }
    const told = new Set<number>();
    let at = position;
    for (; at < this.log.length && told.size < ENTRIES_PER_PAGE; at++) {
      const { idI, wasOurs } = this.log[at]!;
      if (wasOurs || this.nodes.get(idI)?.controller === ID_C) told.add(idI);
    }
    return { cursor: cursorOf(at, 0), more: at < this.log.length, entries: [...told].map((id) => this.entry(id)) };
  }

  entry(idI: number): KeyFeedEntry {
    const node = this.nodes.get(idI);
    const record: ServerNodeRecord | undefined = node && {
      idI,
      key: keyOf(node.key),
      initial: node.initial,
      controller: node.controller,
      disabled: node.disabled,
      lifetime: 0,
      grace: 0,
    };
    return feedEntryOf(idI, record, ID_C, this.tids.get(idI) ?? 0n, WALL);
  }

  /** KID of the key that is to be given out. */
  keyId(idI: number): string | undefined {
    const { applicationRoot } = this.entry(idI);
    return applicationRoot && deriveKeyId(applicationRoot, idI);
  }
}

/** A controller: its client, what it has on disk, and joins that are on their way to it. */
class ModelController {
  readonly registry = new ModelRegistry();
  stored = new Map<number, StoredNodeKeys<string>>();
  cursor = 0n;
  tid = 1n;
  wall = WALL;
  late: { readonly idI: number; readonly tid: bigint; readonly key: number }[] = [];
  answer: Uint8Array | undefined;
  request: Uint8Array | undefined;
  client = this.#newClient();

  #newClient(): KeyFeedClient {
    const randomBytes = seededRandomBytes('controller');
    return new KeyFeedClient({ idC: ID_C, skCs: SK_CS.copy(), cursor: this.cursor, randomBytes, nextTid: () => this.tid++ });
  }

  restart({ losesStore }: { readonly losesStore: boolean }): void {
    this.late = [];
    [this.answer, this.request] = [undefined, undefined];
    if (losesStore) [this.stored, this.cursor] = [new Map(), 0n];
    this.client = this.#newClient();
  }

  /** A join is committed, its M8 is on its way. */
  commit(idI: number): void {
    const node = this.registry.nodes.get(idI);
    if (node === undefined || node.controller !== ID_C || node.disabled) return;
    const [tid, key] = [this.tid++, this.registry.nextKey++];
    this.registry.tids.set(idI, tid);
    this.registry.change(idI, (before) => before && { ...before, key, initial: false, tid });
    this.late.push({ idI, tid, key });
  }

  arrive(at: number): void {
    const [join] = this.late.splice(at % Math.max(1, this.late.length), 1);
    if (join === undefined || !this.client.joined(join.idI, join.tid)) return;
    const root = deriveApplicationRoot(keyOf(join.key), join.idI);
    const { tid, idI } = join;
    const generation = {
      keyId: deriveKeyId(root, idI),
      applicationRoot: root.toHex(),
      tid,
      joinedAt: this.wall,
      expiresAt: undefined,
    };
    const after = afterJoin(this.stored.get(idI), generation, { wallMs: this.wall, overlapMs: OVERLAP_MS });
    if (after !== undefined) this.stored.set(idI, after);
  }

  ask(): void {
    this.request ??= this.client.begin({ wallMs: this.wall, monotonicMs: this.wall });
  }

  serve(): void {
    if (this.request === undefined || this.answer !== undefined) return;
    const request = decodeM12(this.request);
    const { cursor } = openM12(request, SK_CS)!;
    this.answer = sealFeedAnswer(request, this.registry.answer(cursor), seededRandomBytes('server')(13), SK_CS);
  }

  receive(): KeyFeedPage | undefined {
    if (this.answer === undefined) return undefined;
    const decision = this.client.receive(this.answer, this.wall);
    [this.answer, this.request] = [undefined, undefined];
    if (decision.kind !== 'page') return undefined;
    this.apply(decision.page);
    this.client.commit(decision.page);
    return decision.page;
  }

  loseAnswer(): void {
    [this.answer, this.request] = [undefined, undefined];
    this.client.abandon();
  }

  apply({ entries, retains, resumeCursor }: KeyFeedPage): void {
    const now = { wallMs: this.wall, overlapMs: OVERLAP_MS };
    for (const { idI, state, tid, applicationRoot } of entries) {
      if (state === 'current') {
        const keyId = deriveKeyId(applicationRoot!, idI);
        const generation = { keyId, applicationRoot: applicationRoot!.toHex(), tid, joinedAt: this.wall, expiresAt: undefined };
        this.stored.set(idI, afterEntry(this.stored.get(idI), { state, tid, generation }, now));
      } else this.stored.set(idI, afterEntry(this.stored.get(idI), { state, tid }, now));
    }
    if (retains !== undefined) {
      for (const [idI, before] of this.stored)
        if (!retains(idI)) this.stored.set(idI, afterEntry(before, { state: 'removed', tid: 2n ** 64n - 1n }, now));
    }
    this.cursor = resumeCursor;
  }

  /** Asks until an answer is complete. */
  completeFeed(): void {
    for (let i = 0; i < 1_000; i++) {
      this.wall += 1_000;
      this.ask();
      this.serve();
      if (this.receive()?.more === false) return;
    }
    throw new Error('the feed never was complete');
  }

  /** Nodes of which it gives out another key than the registry has. */
  wrongNodes(): number[] {
    const ids = Array.from({ length: NODES }, (_, i) => i + 1);
    return ids.filter((idI) => this.stored.get(idI)?.current?.keyId !== this.registry.keyId(idI));
  }
}

type Step = (controller: ModelController) => void;

const id = fc.integer({ min: 1, max: NODES });
const onNode = (name: string, act: (controller: ModelController, idI: number) => void): fc.Arbitrary<[string, Step]> =>
  id.map((idI) => [`${name} ${idI}`, (controller) => act(controller, idI)]);
const step = (name: string, act: Step): fc.Arbitrary<[string, Step]> => fc.constant([name, act]);

const change = (
  name: string,
  to: (node: ModelNode, registry: ModelRegistry) => ModelNode | undefined,
): fc.Arbitrary<[string, Step]> =>
  onNode(name, ({ registry }, idI) => {
    if (registry.nodes.has(idI)) registry.change(idI, (node) => node && to(node, registry));
  });

const steps: fc.Arbitrary<[string, Step]> = fc.oneof(
  { weight: 6, arbitrary: onNode('join', (c, idI) => c.commit(idI)) },
  { weight: 5, arbitrary: fc.nat(3).map((at): [string, Step] => [`M8 arrives ${at}`, (c) => c.arrive(at)]) },
  {
    weight: 4,
    arbitrary: onNode('add', ({ registry }, idI) => {
      if (registry.nodes.has(idI)) return;
      registry.change(idI, () => ({ key: registry.nextKey++, initial: true, disabled: false, controller: ID_C, tid: 0n }));
    }),
  },
  change('disable', (node) => ({ ...node, disabled: true })),
  change('enable', (node) => ({ ...node, disabled: false })),
  change('remove', () => undefined),
  change('move', (node) => ({ ...node, controller: node.controller === ID_C ? OTHER : ID_C })),
  change('reset', (node, registry) => ({ ...node, initial: true, key: registry.nextKey++ })),
  { weight: 6, arbitrary: step('ask', (c) => c.ask()) },
  { weight: 6, arbitrary: step('serve', (c) => c.serve()) },
  { weight: 6, arbitrary: step('receive', (c) => void c.receive()) },
  step('lose the answer', (c) => c.loseAnswer()),
  step('kill the controller', (c) => c.restart({ losesStore: false })),
  step('lose the store', (c) => c.restart({ losesStore: true })),
  step('prune', ({ registry }) => (registry.pruned = registry.log.length)),
  step('back up', ({ registry }) => {
    registry.backup = { nodes: new Map(registry.nodes), tids: new Map(registry.tids), log: registry.log.length };
  }),
  step('restore', ({ registry }) => {
    if (registry.backup === undefined) return;
    registry.nodes = new Map(registry.backup.nodes);
    registry.tids = new Map(registry.backup.tids);
    registry.log.length = Math.min(registry.log.length, registry.backup.log);
    registry.incarnation += 1n;
    registry.pruned = Math.min(registry.pruned, registry.log.length);
  }),
);

describe('a controller that follows the key feed', () => {
  it('gives out what the registry has after each complete answer, however late joins arrive', () => {
    fc.assert(
      fc.property(fc.array(steps, { minLength: 5, maxLength: 60 }), (script) => {
        const controller = new ModelController();
        for (const [, act] of script) act(controller);
        // What is under way may be of a moment before the last change.
        controller.loseAnswer();
        controller.completeFeed();
        expect(controller.wrongNodes()).toEqual([]);
        while (controller.late.length > 0) {
          controller.arrive(0);
          expect(controller.wrongNodes()).toEqual([]);
        }
      }),
      { numRuns: 3_000 },
    );
  });

  it('gives out no older join that arrives after the entry about a newer one', () => {
    const controller = new ModelController();
    controller.registry.change(1, () => ({ key: 99, initial: true, disabled: false, controller: ID_C, tid: 0n }));
    controller.commit(1);
    controller.commit(1);
    controller.completeFeed();
    controller.arrive(0);
    expect(controller.wrongNodes()).toEqual([]);
    controller.arrive(0);
    expect(controller.wrongNodes()).toEqual([]);
  });

  it('keeps a join that arrived while an answer from before it was under way', () => {
    const controller = new ModelController();
    const add = (idI: number): void =>
      controller.registry.change(idI, () => ({ key: 90 + idI, initial: true, disabled: false, controller: ID_C, tid: 0n }));
    add(1);
    controller.completeFeed();
    controller.ask();
    controller.commit(1);
    controller.arrive(0);
    controller.serve();
    controller.commit(1);
    controller.arrive(0);
    controller.receive();
    expect(controller.wrongNodes()).toEqual([]);
    // The last answer of a walk: it does not list a node that was added after it was made.
    controller.restart({ losesStore: true });
    controller.ask();
    controller.serve();
    expect(controller.receive()).toMatchObject({ more: true, endsWalk: true });
    controller.ask();
    controller.serve();
    add(2);
    controller.commit(2);
    controller.arrive(0);
    expect(controller.receive()?.retains).toBeDefined();
    expect(controller.wrongNodes()).toEqual([]);
  });

  it('gives out no join that came while a walk was begun, of a time that the registry was restored to before', () => {
    const controller = new ModelController();
    const { registry } = controller;
    registry.change(3, () => ({ key: 99, initial: true, disabled: false, controller: ID_C, tid: 0n }));
    const before = { nodes: new Map(registry.nodes), log: registry.log.length };
    controller.commit(3);
    [registry.nodes, registry.tids, registry.log.length] = [before.nodes, new Map(), before.log];
    registry.incarnation += 1n;
    controller.ask();
    controller.arrive(0);
    controller.serve();
    controller.receive();
    controller.completeFeed();
    expect(controller.wrongNodes()).toEqual([]);
  });

  it('gives out the newer of two joins that arrive the wrong way round', () => {
    const controller = new ModelController();
    controller.registry.change(1, () => ({ key: 99, initial: true, disabled: false, controller: ID_C, tid: 0n }));
    controller.completeFeed();
    controller.commit(1);
    controller.commit(1);
    controller.arrive(1);
    controller.arrive(0);
    expect(controller.wrongNodes()).toEqual([]);
  });

  it('begins a walk again at once the first time, then later each time, until one is complete', () => {
    const controller = new ModelController();
    controller.cursor = 5n << 48n;
    controller.restart({ losesStore: false });
    const waits: number[] = [];
    for (let i = 0; i < 12; i++) {
      controller.ask();
      controller.registry.incarnation += 1n;
      controller.answer = sealFeedAnswer(
        decodeM12(controller.request!),
        { cursor: 0n, more: true, entries: [] },
        new Uint8Array(13),
        SK_CS,
      );
      controller.receive();
      waits.push(controller.client.notBefore - controller.wall);
      controller.wall = controller.client.notBefore;
    }
    expect(waits).toEqual([0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300].map((seconds) => seconds * 1_000));
    controller.completeFeed();
    expect(controller.client.isVerified(controller.wall)).toBe(true);
    expect(controller.client.isVerified(controller.wall + 61_000)).toBe(false);
  });

  it('takes only an M9 about no node for a refusal', () => {
    const controller = new ModelController();
    controller.ask();
    const request = decodeM12(controller.request!);
    const m9 = sealFeedRefusal(request, 'clock', new Uint8Array(13), SK_CS);
    expect(
      controller.client.receive(
        m9.map((octet, i) => (i === 20 ? octet ^ 1 : octet)),
        0,
      ),
    ).toEqual({ kind: 'ignored' });
    expect(controller.client.receive(m9, 0)).toEqual({ kind: 'refuse', refusal: 'clock' });
    expect(controller.client.receive(m9, 0)).toEqual({ kind: 'ignored' });
  });

  it('finishes what is under way under the SK_cs it was sealed with', () => {
    const controller = new ModelController();
    controller.ask();
    controller.client.rekey(secret(8));
    controller.serve();
    expect(controller.receive()).toMatchObject({ entries: [] });
    const next = controller.client.begin({ wallMs: WALL, monotonicMs: 0 })!;
    expect(openM12(decodeM12(next), SK_CS)).toBeUndefined();
    expect(openM12(decodeM12(next), secret(8))).toBeDefined();
  });
});

describe('the keys of a node', () => {
  const now = { wallMs: WALL, overlapMs: OVERLAP_MS };
  const generation = (tid: bigint, keyId = `${tid}`): StoredNodeKeys<string>['current'] & {} => ({
    keyId,
    applicationRoot: 'root',
    tid,
    joinedAt: WALL,
    expiresAt: undefined,
  });

  it('keep four former generations, each for its own overlap', () => {
    let keys: StoredNodeKeys<string> | undefined;
    for (let tid = 1n; tid <= 7n; tid++) keys = afterJoin(keys, generation(tid), { ...now, wallMs: WALL + Number(tid) });
    expect(keys?.former.map(({ keyId, until }) => [keyId, until - WALL])).toEqual(
      [6n, 5n, 4n, 3n].map((tid) => [`${tid}`, 60_001 + Number(tid)]),
    );
    keys = afterJoin(keys, generation(8n), { ...now, wallMs: WALL + OVERLAP_MS + 6 });
    expect(keys?.former.map(({ keyId }) => keyId)).toEqual(['7', '6']);
  });

  it.each(['initial', 'disabled', 'removed', 'moved', 'expired'] as const)('lose all generations once %s', (state) => {
    const joined = afterJoin(afterJoin<string>(undefined, generation(1n), now), generation(2n), now);
    expect(joined?.former).toHaveLength(1);
    expect(afterEntry(joined, { state, tid: 2n }, now)).toMatchObject({ state, current: undefined, former: [] });
  });

  it('have no former generation with the key ID of the current one', () => {
    const joined = afterJoin(afterJoin<string>(undefined, generation(1n), now), generation(2n), now);
    expect(afterJoin(joined, generation(3n, '1'), now)?.former.map(({ keyId }) => keyId)).toEqual(['2']);
  });

  it('are forgotten a minute after the node is gone, and not before', () => {
    const gone = afterEntry<string>(undefined, { state: 'moved', tid: 2n ** 64n - 1n }, now);
    expect(isForgettable(gone, WALL + TOMBSTONE_MS - 1)).toBe(false);
    expect(isForgettable(gone, WALL + TOMBSTONE_MS)).toBe(true);
    expect(afterJoin(gone, generation(2n ** 64n - 2n), now)).toBeUndefined();
    const disabled = afterEntry<string>(undefined, { state: 'disabled', tid: 0n }, now);
    expect(isForgettable(disabled, WALL + 10 * TOMBSTONE_MS)).toBe(false);
  });
});

describe('the limit on M12', () => {
  it('answers 100 new TIDs a second per controller, and refuses more', () => {
    const limiter = new KeyFeedLimiter();
    const admitted = (from: number, now: number): number =>
      Array.from({ length: 300 }, (_, i) => limiter.admit(ID_C, BigInt(from + i), now, 'd37c')).filter(
        (verdict) => verdict === 'answer',
      ).length;
    expect(admitted(1, 0)).toBe(100);
    expect(limiter.admit(OTHER, 1n, 0, 'd37c')).toBe('answer');
    expect(limiter.admit(ID_C, 1_000n, 0, 'd37c')).toBe('refuse');
    expect(admitted(2_000, 500)).toBe(50);
    expect(admitted(4_000, 10_500)).toBe(100);
  });

  it('answers a copy once a second, and recorded ones take nothing from the real one', () => {
    const limiter = new KeyFeedLimiter();
    expect([0, 1, 999, 1_000, 1_999, 2_000].map((now) => limiter.admit(ID_C, 50n, now, 'd37c'))).toEqual([
      'answer',
      'drop',
      'drop',
      'answer',
      'drop',
      'answer',
    ]);
    const recorded = Array.from({ length: 50 }, (_, tid) => limiter.admit(ID_C, BigInt(tid), 3_000, 'd37c'));
    expect(recorded.filter((verdict) => verdict === 'answer')).toHaveLength(1);
    expect(limiter.admit(ID_C, 50n, 3_000, 'd37c')).toBe('answer');
    expect(limiter.admit(ID_C, 51n, 3_000, 'd37c')).toBe('answer');
  });

  it('takes answers that go through much of the log for as many new TIDs', () => {
    const limiter = new KeyFeedLimiter();
    const pages = (now: number): number => {
      let count = 0;
      for (let tid = now * 1_000 + 1; limiter.admit(ID_C, BigInt(tid), now, 'd37c') === 'answer'; tid++) {
        limiter.charge(ID_C, 4_096);
        count += 1;
      }
      return count;
    };
    expect(pages(0)).toBe(6);
    expect(pages(500)).toBe(3);
    limiter.charge(OTHER, 4_096);
    expect(limiter.admit(OTHER, 1n, 500, 'd37c')).toBe('answer');
  });

  it('begins anew with another SK_cs: the largest TID under the one before counts no more', () => {
    const limiter = new KeyFeedLimiter();
    expect(limiter.admit(ID_C, 2n ** 64n - 1n, 0, 'd37c')).toBe('answer');
    expect([limiter.admit(ID_C, 1n, 0, '2cc7'), limiter.admit(ID_C, 2n, 0, '2cc7')]).toEqual(['answer', 'answer']);
  });
});
