// Proves of each change an administrator makes: its effect, its entry in the log, all or none, and
// that no commit gets past it. On each storage engine.

import { allOf } from '@latchkey/registry';
import { formatId, type Secret } from '@latchkey/protocol';
import { beforeEach, describe, expect, it } from 'vitest';
import {
  addController,
  findHeldInitialKey,
  moveNodes,
  recordExport,
  stageControllerKey,
  setController,
  removeController,
  removeNodes,
  resetNode,
  setDisabled,
  setJoinWindow,
  setOrderState,
  setKeyLifetime,
} from '../src/administration.js';
import { enrol, EnrolmentTransaction } from '../src/enrolment.js';
import { NodeBatch } from '../src/node-batch.js';
import type { Registry, ControllerRecord } from '@latchkey/registry';
import type { Endpoint } from '@latchkey/runtime/net';
import { C1, C2, newSecret, AdminFixture } from '@latchkey/test-support/admin-fixture';
import { newRegistry } from '@latchkey/test-support/registry-fixtures';

describe.each(['LMDB', 'memory'] as const)('on %s', (engine) => {
  let fixture: AdminFixture;
  let registry: Registry;
  let ik: Secret;
  let number: number;

  beforeEach(async () => {
    fixture = await AdminFixture.open(engine);
    ({ registry } = fixture);
    ik = newSecret();
    number = await fixture.order({ 1: ik, 2: newSecret(), 3: newSecret() });
  });

  /** What `change` left in the log, without times. */
  async function auditEntriesOf(change: () => Promise<unknown>): Promise<object[]> {
    const before = fixture.headSeq;
    await change();
    return fixture.entriesAfter(before).map(({ at: _, actor: __, seq: ___, ...entry }) => entry);
  }

  /** Node 1 as it is now, without its key. */
  async function node(idI: number = 1): Promise<Record<string, unknown> | undefined> {
    const found = await registry.node(idI);
    if (found === undefined) return undefined;
    const { key, ...facts } = found;
    return { ...facts, key: key.toHex() };
  }

  describe('nodes', () => {
    it('are disabled and enabled, each told once, and counted where they were not so', async () => {
      expect(await auditEntriesOf(() => setDisabled(registry, [1, 2], true))).toEqual([
        { what: 'node disabled', node: '00000001' },
        { what: 'node disabled', node: '00000002' },
      ]);
      const { entry } = (await registry.node(1))!;
      expect([await node(1), await node(2), await node(3)].map((facts) => facts?.['disabled'])).toEqual([true, true, false]);
      expect(await setDisabled(registry, [1, 3], true)).toBe(1);
      expect((await registry.node(1))?.entry).toBe(entry);
      expect(await auditEntriesOf(() => setDisabled(registry, [1, 2, 3], false))).toMatchObject([
        { what: 'node enabled', previous_entry: entry },
        { what: 'node enabled' },
        { what: 'node enabled' },
      ]);
      expect(await auditEntriesOf(() => setDisabled(registry, [1, 2, 3], false))).toEqual([]);
      expect(await node()).toMatchObject({ disabled: false, key: ik.toHex() });
    });

    it('that are named twice in one change are changed once', async () => {
      expect(await auditEntriesOf(() => setDisabled(registry, [1, 1], true))).toHaveLength(1);
      expect(await auditEntriesOf(() => removeNodes(registry, [2, 2]))).toHaveLength(1);
    });

    it('are moved to another controller', async () => {
      expect(await auditEntriesOf(() => moveNodes(registry, [1], C2))).toEqual([
        { what: 'node moved', node: '00000001', controller: formatId(C2) },
      ]);
      expect(await node()).toMatchObject({ controller: C2, key: ik.toHex() });
      expect(await moveNodes(registry, [1, 2], C2)).toBe(1);
    });

    it('get a lifetime and a grace of their own, and keep the other', async () => {
      expect(await auditEntriesOf(() => setKeyLifetime(registry, [1], { lifetime: 7 }))).toMatchObject([
        { what: 'node lifetime changed', note: 'lifetime 7s' },
      ]);
      expect(await node()).toMatchObject({ lifetime: 7, grace: 600 });
      await setKeyLifetime(registry, [1], { grace: 0 });
      expect(await node()).toMatchObject({ lifetime: 7, grace: 0 });
      expect(await node(2)).toMatchObject({ lifetime: 3_600, grace: 600 });
      await setKeyLifetime(registry, [1], { lifetime: 0 });
      expect(await node()).toMatchObject({ lifetime: 0, grace: 0 });
    });

    it('are left alone where they have that lifetime already', async () => {
      await setKeyLifetime(registry, [1], { lifetime: 7 });
      expect(await auditEntriesOf(() => setKeyLifetime(registry, [1], { lifetime: 7 }))).toEqual([]);
    });

    it('keep the lifetime of the key they have when another is set', async () => {
      await fixture.join(1, ik);
      await setKeyLifetime(registry, [1], { lifetime: 7 });
      expect((await registry.node(1))?.committed?.lifetime).toBe(3_600);
    });

    it('are removed with their key and what was seen of them', async () => {
      await fixture.testServer((server) => server.request(server.exchange(1, ik), 'm2'));
      expect(await registry.nodeActivity(1)).toBeDefined();
      expect(await auditEntriesOf(() => removeNodes(registry, [1, 2]))).toMatchObject([
        { what: 'node removed', node: '00000001' },
        { what: 'node removed', node: '00000002' },
      ]);
      expect((await allOf(registry.nodePages())).map(({ idI }) => idI)).toEqual([3]);
      expect([await node(), await registry.nodeRow(1), await registry.nodeActivity(1)]).toEqual([
        undefined,
        undefined,
        undefined,
      ]);
      expect((await registry.takenIds([1])).has(1)).toBe(false);
    });

    it('go back to an initial key, and forget what they proved', async () => {
      const psk = await fixture.join(1, ik);
      await fixture.testServer((server) => server.request(server.exchange(1, psk), 'm2'));
      const other = newSecret();
      expect(await auditEntriesOf(() => resetNode(registry, 1, other))).toMatchObject([
        { what: 'node reset', key: other.fingerprint },
      ]);
      const facts = await node();
      expect(facts).toMatchObject({ initial: true, key: other.toHex(), controller: C1, seenBy: [] });
      expect([facts?.['committed'], facts?.['joinedAt'], facts?.['committedAt']]).toEqual([undefined, undefined, undefined]);
      expect(await registry.nodeActivity(1)).toBeUndefined();
      const rejoined = await fixture.join(1, other);
      expect(await node()).toMatchObject({ initial: false, key: rejoined.toHex(), seenBy: [C1] });
    });

    it('that go back to the initial key they had are known to have shown it', async () => {
      await fixture.join(1, ik);
      await resetNode(registry, 1, ik);
      expect(await node()).toMatchObject({ initial: true, key: ik.toHex(), seenBy: [C1] });
    });

    it.each<[string, (ids: number[]) => Promise<unknown>]>([
      ['disabled', (ids) => setDisabled(registry, ids, true)],
      ['moved', (ids) => moveNodes(registry, ids, C2)],
      ['set', (ids) => setKeyLifetime(registry, ids, { lifetime: 1 })],
      ['removed', (ids) => removeNodes(registry, ids)],
    ])('are %s all or none: one that is unknown stops it', async (_, change) => {
      const [before, seq] = [[await node(1), await node(2), await node(3)], fixture.headSeq];
      await expect(change([1, 2, 77, 3])).rejects.toMatchObject({
        name: 'NotFound',
        message: 'node 0000004d is not in the registry',
        run: [['latchkey-auth-server', 'node', 'list']],
      });
      expect([await node(1), await node(2), await node(3)]).toEqual(before);
      expect(fixture.headSeq).toBe(seq);
      await expect(resetNode(registry, 77, newSecret())).rejects.toThrow('node 0000004d is not in the registry');
      expect(fixture.headSeq).toBe(seq);
    });

    it('show an initial key that another of them still holds', async () => {
      const shared = newSecret();
      await fixture.order({ 11: shared, 12: shared }, { sharedKey: true });
      await fixture.join(11, shared);
      expect((await findHeldInitialKey(registry, 11))?.toHex()).toBe(shared.toHex());
      await fixture.join(12, shared);
      expect(await findHeldInitialKey(registry, 11)).toBeUndefined();
      expect(await findHeldInitialKey(registry, 77)).toBeUndefined();
      expect((await findHeldInitialKey(registry, 1))?.toHex()).toBe(ik.toHex());
    });
  });

  describe('a commit that races with a change', () => {
    const changes: readonly [string, string, () => Promise<unknown>][] = [
      ['disable', 'disabled', () => setDisabled(registry, [1], true)],
      ['move', 'notAssigned', () => moveNodes(registry, [1], C2)],
      ['remove', 'unknownNode', () => removeNodes(registry, [1])],
      ['reset', 'proofFailed', () => resetNode(registry, 1, newSecret())],
      ['suspended', 'outsideJoinWindow', () => setOrderState(registry, number, 'suspended')],
      ['close', 'outsideJoinWindow', () => setOrderState(registry, number, 'closed')],
      ['window', 'outsideJoinWindow', () => setJoinWindow(registry, number, { joinFrom: Date.now() + 3_600_000 })],
    ];

    it.each(changes)('%s: judged before it, it is judged anew and refused (%s)', async (_, refusal, change) => {
      await fixture.testServer(async (server) => {
        const exchange = server.exchange(1, ik);
        // The change is under way when the server judges M7 by what was before it.
        const changing = change();
        const answering = server.request(exchange, 'm7');
        await changing;
        const { headSeq } = fixture;
        expect(await answering).toBe(refusal);
        expect(fixture.headSeq).toBe(headSeq);
        expect(server.log.withMessage('node has a new key')).toEqual([]);
      });
      expect((await registry.node(1))?.committed).toBeUndefined();
    });

    it.each(changes)('%s: judged by an older row, it is lost however late it comes', async (_, __, change) => {
      const judged = (await registry.node(1))!;
      await change();
      const commit = { idC: C1, tid: 5n, ts: Date.now(), nidI: new Uint8Array(18), lifetime: 1 };
      expect(await registry.commit(judged, newSecret(), commit, Date.now, () => true)).toBe('conflict');
      expect((await registry.node(1))?.committed).toBeUndefined();
    });

    it.each(changes)('%s: from another process it is no other', async (_, refusal, change) => {
      const mine = registry;
      const other = await fixture.reopen();
      const { headSeq } = fixture;
      await fixture.testServer(async (server) => {
        registry = other;
        const [, answer] = await Promise.all([change(), server.request(server.exchange(1, ik), 'm7')]);
        // Either it was first, or it was refused.
        const inOrder = fixture.entriesAfter(headSeq).map(({ what }) => what === 'node joined');
        expect([answer, inOrder]).toEqual(answer === 'M8' ? ['M8', [true, false]] : [refusal, [false]]);
      });
      registry = mine;
      await other.close();
    });

    it('that does not touch it goes through: another lifetime is granted, a suspended order is nothing to a joined node', async () => {
      const psk = await fixture.join(1, ik);
      await fixture.testServer(async (server) => {
        const exchange = server.exchange(1, psk);
        const changing = Promise.all([
          setKeyLifetime(registry, [1], { lifetime: 11 }),
          setOrderState(registry, number, 'suspended'),
          recordExport(registry, number, 2, 'manifest'),
        ]);
        const answering = server.request(exchange, 'm7');
        await changing;
        expect(await answering).toBe('M8');
        expect((await registry.node(1))?.key.toHex()).toBe(exchange.psk.toHex());
      });
      expect((await registry.node(1))?.committed?.lifetime).toBe(11);
    });

    it('is lost where its node was removed and ordered anew with the same ID and key', async () => {
      const judged = (await registry.node(1))!;
      await removeNodes(registry, [1]);
      await fixture.order({ 1: ik });
      const commit = { idC: C1, tid: 5n, ts: Date.now(), nidI: new Uint8Array(18), lifetime: 1 };
      expect(await registry.commit(judged, newSecret(), commit, Date.now, () => true)).toBe('conflict');
    });
  });

  describe('orders', () => {
    it('are suspended, resumed, opened and closed for good', async () => {
      expect(await auditEntriesOf(() => setOrderState(registry, number, 'suspended'))).toEqual([
        { what: 'order suspended', order: number },
      ]);
      expect(await auditEntriesOf(() => setOrderState(registry, number, 'open'))).toEqual([
        { what: 'order resumed', order: number },
      ]);
      await setOrderState(registry, number, 'suspended');
      await fixture.testServer(async (server) =>
        expect(await server.request(server.exchange(1, ik), 'm2')).toBe('outsideJoinWindow'),
      );
      const [from, until] = [Date.now() - 1_000, Date.now() + 60_000];
      expect(await auditEntriesOf(() => setJoinWindow(registry, number, { joinFrom: from, joinUntil: until }))).toEqual([
        { what: 'order opened', order: number },
      ]);
      expect(await registry.order(number)).toMatchObject({ state: 'open', joinFrom: from, joinUntil: until });
      await setJoinWindow(registry, number, {});
      expect(Object.keys((await registry.order(number))!)).not.toContain('joinUntil');
      await fixture.testServer(async (server) => expect(await server.request(server.exchange(1, ik), 'm2')).toBe('M3'));

      await setOrderState(registry, number, 'closed');
      const { headSeq } = fixture;
      for (const change of [() => setOrderState(registry, number, 'suspended'), () => setJoinWindow(registry, number, {})])
        await expect(change()).rejects.toMatchObject({ name: 'UsageFailure', message: `order ${number} is closed for good` });
      expect(fixture.headSeq).toBe(headSeq);
      await fixture.testServer(async (server) =>
        expect(await server.request(server.exchange(1, ik), 'm2')).toBe('outsideJoinWindow'),
      );
    });

    it('that are suspended let in whoever has joined, and nobody else', async () => {
      const psk = await fixture.join(1, ik);
      await setOrderState(registry, number, 'suspended');
      const renewed = await fixture.join(1, psk);
      expect((await registry.node(1))?.key.toHex()).toBe(renewed.toHex());
      expect(await registry.node(2)).toMatchObject({ initial: true, joinUntil: 0 });
    });

    it('tell that keys of them were handed out again', async () => {
      expect(await auditEntriesOf(() => recordExport(registry, number, 2, 'labels'))).toEqual([
        { what: 'order exported', order: number, count: 2, note: 'labels' },
      ]);
      expect((await registry.order(number))?.entry).toBe(fixture.headSeq);
    });

    it('that are not there are not changed', async () => {
      await expect(setOrderState(registry, 99, 'suspended')).rejects.toThrow('there is no order 99');
      await expect(setJoinWindow(registry, 99, {})).rejects.toThrow('there is no order 99');
      await expect(recordExport(registry, 99, 1, '')).rejects.toThrow('there is no order 99');
    });
  });

  describe('controllers', () => {
    const record = (idC: number, skCs: Secret = newSecret()): ControllerRecord => ({
      idC,
      skCs,
      nid: { host: '192.0.2.9', port: 5683 },
      servers: [],
      addedAt: Date.now(),
    });

    it('are added once', async () => {
      const skCs = newSecret();
      expect(await auditEntriesOf(() => addController(registry, record(9, skCs)))).toEqual([
        { what: 'controller added', controller: '00000009', key: skCs.fingerprint },
      ]);
      await expect(addController(registry, record(9))).rejects.toThrow('controller 00000009 is in the registry already');
      expect((await registry.controller(9))?.skCs.toHex()).toBe(skCs.toHex());
    });

    it('get other addresses, each change with what it was in the log, and one that differs in nothing is none', async () => {
      const before = (await registry.controller(C1))!;
      const [nid, server, other] = ['192.0.2.77', '192.0.2.7', '2001:db8::7'].map((host) => ({ host, port: 5683 })) as [
        Endpoint,
        Endpoint,
        Endpoint,
      ];
      expect(await auditEntriesOf(() => setController(registry, C1, { nid, servers: [server] }))).toMatchObject([
        {
          what: 'controller changed',
          controller: '00000001',
          note: 'nid 192.0.2.1:5684 -> 192.0.2.77:5683; servers none -> 192.0.2.7:5683',
        },
      ]);
      expect(await auditEntriesOf(() => setController(registry, C1, { servers: [other, server] }))).toMatchObject([
        { note: 'servers 192.0.2.7:5683 -> [2001:db8::7]:5683, 192.0.2.7:5683' },
      ]);
      expect(await auditEntriesOf(() => setController(registry, C1, { nid, servers: [other, server] }))).toEqual([]);
      const after = (await registry.controller(C1))!;
      expect(after).toMatchObject({ nid, servers: [other, server], addedAt: before.addedAt });
      expect(after.skCs.equals(before.skCs)).toBe(true);
      await expect(setController(registry, 77, { nid })).rejects.toThrow('controller 0000004d is not in the registry');
    });

    it('keep the SK_cs that waits for them when their addresses are changed', async () => {
      const next = newSecret();
      await stageControllerKey(registry, C1, next);
      await setController(registry, C1, { servers: [{ host: '192.0.2.7', port: 5693 }] });
      expect((await registry.controller(C1))?.stagedSkCs?.equals(next)).toBe(true);
    });

    it('are removed when no node is assigned to them, and then nobody is answered under their key', async () => {
      await expect(removeController(registry, C1)).rejects.toMatchObject({
        name: 'UsageFailure',
        message: '3 nodes are assigned to controller 00000001',
        advice: 'Nothing was changed. Move them first, to controller 00000002 say:',
        run: [['latchkey-auth-server', 'node', 'move', '--from', '00000001', '--controller', '00000002']],
      });
      await moveNodes(registry, [1, 2, 3], C2);
      expect(await auditEntriesOf(() => removeController(registry, C1))).toEqual([
        { what: 'controller removed', controller: '00000001' },
      ]);
      expect(await registry.controller(C1)).toBeUndefined();
      await fixture.testServer(async (server) => expect(await server.request(server.exchange(1, ik), 'm2')).toBe('4.01'));
      await expect(removeController(registry, C1)).rejects.toThrow('controller 00000001 is not in the registry');
    });

    it.each<[string, 'add' | 'change' | 'move']>([
      ['moved to them', 'move'],
      ['added to them', 'add'],
      ['given to them by an import', 'change'],
    ])('are not removed while nodes are %s', async (_, way) => {
      const terms = { kind: 'import', installer: 'Kim', idC: undefined, sharedKey: false, lifetime: 0, grace: 0 } as const;
      const batch = new NodeBatch();
      batch.add(way === 'add' ? 9 : 1, C2, newSecret().expose(), 1);
      const enrolling = await EnrolmentTransaction.begin(registry, terms);
      if (way !== 'move') await enrolling.add(batch, { action: () => way });
      // The assignment is under way when nodes are counted.
      const assigning = way === 'move' ? moveNodes(registry, [1], C2) : enrolling.commit();
      await expect(removeController(registry, C2)).rejects.toThrow('1 node is assigned to controller 00000002');
      await assigning;
      await enrolling.close();
      expect(await registry.controller(C2)).toBeDefined();
    });

    it('are removed once nodes that were assigned to them are gone', async () => {
      await moveNodes(registry, [1], C2);
      await moveNodes(registry, [1], C1);
      await removeController(registry, C2);
      expect(await registry.controller(C2)).toBeUndefined();
    });

    it('have two SK_cs until they use the new one; then the old one opens nothing', async () => {
      const [first, next] = [fixture.skCs(C1), newSecret()];
      expect(await auditEntriesOf(() => stageControllerKey(registry, C1, next))).toEqual([
        { what: 'controller key staged', controller: '00000001', key: next.fingerprint },
      ]);
      await fixture.testServer(async (server) => {
        const ask = (skCs: Secret): Promise<string> => server.request(server.exchange(1, ik, { skCs }), 'm2');
        expect(await ask(first)).toBe('M3');
        expect((await registry.controller(C1))?.stagedSkCs?.toHex()).toBe(next.toHex());
        expect(await auditEntriesOf(() => Promise.all([ask(next), ask(next), ask(next)]))).toEqual([
          { what: 'controller key activated', controller: '00000001', key: next.fingerprint },
        ]);
        expect(await ask(first)).toBe('4.01');
        expect(await ask(next)).toBe('M3');
      });
      expect(await registry.controller(C1)).toMatchObject({ stagedSkCs: undefined });
      expect((await registry.controller(C1))?.skCs.toHex()).toBe(next.toHex());
    });

    it('that are given a third SK_cs lose the second, which was never used', async () => {
      const [first, second, third] = [fixture.skCs(C1), newSecret(), newSecret()];
      await stageControllerKey(registry, C1, second);
      await stageControllerKey(registry, C1, third);
      await fixture.testServer(async (server) => {
        const ask = (skCs: Secret): Promise<string> => server.request(server.exchange(1, ik, { skCs }), 'm2');
        expect([await ask(second), await ask(first), await ask(third), await ask(first)]).toEqual(['4.01', 'M3', 'M3', '4.01']);
      });
    });

    it('keep a key that opens when they are rotated again while the second takes over', async () => {
      const [second, third] = [newSecret(), newSecret()];
      await stageControllerKey(registry, C1, second);
      await fixture.testServer(async (server) => {
        const exchange = server.exchange(1, ik, { skCs: second });
        await Promise.all([stageControllerKey(registry, C1, third), server.request(exchange, 'm2')]);
        const holds = [fixture.skCs(C1), second];
        const { skCs } = (await registry.controller(C1))!;
        expect(holds.some((key) => key.equals(skCs))).toBe(true);
      });
    });

    it('that are not there are given no key', async () => {
      await expect(stageControllerKey(registry, 77, newSecret())).rejects.toThrow('controller 0000004d is not in the registry');
    });
  });
});

it('notes when a node was reset by the clock of the registry, as its servers note what they see', async () => {
  const registry = await newRegistry(() => ({ wallMs: 5_000, monotonicMs: 7_000 }));
  const nid = { host: '192.0.2.1', port: 5683 };
  await addController(registry, { idC: C1, skCs: newSecret(), nid, servers: [], addedAt: 1_000 });
  const batch = new NodeBatch();
  batch.add(1, C1, newSecret().expose(), 0);
  const terms = { kind: 'order', installer: 'Kim', idC: C1, sharedKey: false, lifetime: 3_600, grace: 600 } as const;
  await enrol(registry, { terms, batch });
  await resetNode(registry, 1, newSecret());
  expect((await registry.nodeRow(1))?.resetAt).toBe(5_000);
});
