// Proves which controllers count as having had the key of a node: every one that was not
// pass-through while the node, or another with its initial key, was assigned to it, until the node
// has joined with a new initial key.

import { join } from 'node:path';
import { Secret } from '@latchkey/protocol';
import { beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { backup, Registry, restore } from '@latchkey/registry';
import { AdminFixture, C1, C2, MASTER, newSecret } from '@latchkey/test-support/admin-fixture';
import { tempFolder } from '@latchkey/test-support/fixtures';
import { addController, moveNodes, removeController, removeNodes, resetNode, setController } from '../src/administration.js';
import { enrol, EnrolmentTransaction, type OrderTerms } from '../src/enrolment.js';
import { exposureOfOrder } from '../src/key-exposure.js';
import { controllersSet } from '../src/controllers.js';
import { keyHoldersOf, keysHeldBy } from '../src/key-holders.js';
import { NodeBatch } from '../src/node-batch.js';
import { nodesShow } from '../src/nodes.js';
import { call, type Context } from '../src/operation.js';

/** Pass-through from the start. */
const P = 7;

let fixture: AdminFixture;
let registry: Registry;

beforeEach(async () => {
  fixture = await AdminFixture.open();
  ({ registry } = fixture);
  await add(P, true);
});

async function add(idC: number, passThrough: boolean): Promise<void> {
  const nid = { host: '192.0.2.1', port: 5683 };
  await addController(registry, { idC, skCs: newSecret(), nid, servers: [], addedAt: Date.now(), passThrough });
}

/** A node joins, or renews, whatever its controller gets to see of it. */
async function commit(idI: number): Promise<void> {
  const node = (await registry.node(idI))!;
  const more = { idC: node.controller, tid: 1n, ts: Date.now(), nidI: new Uint8Array(18), lifetime: 3_600 };
  expect(await registry.commit(node, newSecret(), more, Date.now, () => true)).toBe('committed');
}

const setPassThrough = (idC: number, passThrough: boolean): Promise<boolean> => setController(registry, idC, { passThrough });
const holders = async (idI: number): Promise<readonly number[]> => (await keyHoldersOf(registry, idI)).controllers;
const held = async (idC: number): Promise<readonly number[]> => (await keysHeldBy(registry, idC)).nodes;

/** Runs an import in which each node has the key and the controller given. */
async function importNodes(action: 'add' | 'change', nodes: readonly (readonly [number, number, Secret])[]): Promise<void> {
  const batch = new NodeBatch();
  nodes.forEach(([idI, idC, ik], i) => batch.add(idI, idC, ik.expose(), i + 1));
  const terms: OrderTerms = { kind: 'import', installer: 'Kim', idC: undefined, sharedKey: false, lifetime: 0, grace: 0 };
  await enrol(registry, { terms, batch, action: () => action });
}

describe('a controller that is not pass-through', () => {
  it('could have the key of each of its nodes, before any of them asks for one', async () => {
    await fixture.order({ 1: newSecret(), 2: newSecret() });
    await fixture.order({ 3: newSecret() }, { idC: C2 });
    expect([await held(C1), await held(C2), await held(P)]).toEqual([[1, 2], [3], []]);
    expect([await holders(1), await holders(3)]).toEqual([[C1], [C2]]);
  });

  it('still could after a node was moved, however often the node renews', async () => {
    await fixture.order({ 1: newSecret() });
    await moveNodes(registry, [1], P);
    for (let i = 0; i < 3; i++) await commit(1);
    await moveNodes(registry, [1], C2);
    await moveNodes(registry, [1], P);
    expect([await holders(1), await held(C1), await held(C2), await held(P)]).toEqual([[C1, C2], [1], [1], []]);
  });

  it('still could after it was removed', async () => {
    await fixture.order({ 1: newSecret() });
    await moveNodes(registry, [1], P);
    await removeController(registry, C1);
    expect([await holders(1), await held(C1)]).toEqual([[C1], [1]]);
  });

  it('is one of others once a node had more of them than its row names', async () => {
    await fixture.order({ 1: newSecret() });
    for (let idC = 100; idC < 140; idC++) {
      await add(idC, false);
      await moveNodes(registry, [1], idC);
    }
    await moveNodes(registry, [1], P);
    const { controllers, andOthers } = await keyHoldersOf(registry, 1);
    expect([controllers.length, andOthers]).toEqual([32, true]);
    expect(await keysHeldBy(registry, 139)).toEqual({ nodes: [], unknown: [1] });
    expect(await keysHeldBy(registry, 100)).toEqual({ nodes: [1], unknown: [] });
  });
});

describe('a switch', () => {
  it('to pass-through takes nothing back, and what is assigned after it does not count', async () => {
    await fixture.order({ 1: newSecret() });
    await setPassThrough(C1, true);
    await fixture.order({ 2: newSecret() });
    expect([await held(C1), await holders(2)]).toEqual([[1], []]);
    await moveNodes(registry, [1, 2], P);
    expect([await held(C1), await held(P), await holders(1), await holders(2)]).toEqual([[1], [], [C1], []]);
  });

  it('back counts for each of its nodes at once, and stays when it is undone', async () => {
    await fixture.order({ 1: newSecret() }, { idC: P });
    await commit(1);
    expect(await held(P)).toEqual([]);
    await setPassThrough(P, false);
    expect(await held(P)).toEqual([1]);
    await setPassThrough(P, true);
    await fixture.order({ 2: newSecret() }, { idC: P });
    await setController(registry, P, { nid: { host: '192.0.2.9', port: 5683 } });
    expect([await held(P), await holders(1), await holders(2)]).toEqual([[1], [P], []]);
  });

  it.each([
    [true, []],
    [false, [1]],
  ])('to %s while an order is written counts for the moment at which its nodes appear', async (to, expected) => {
    await setPassThrough(C1, !to);
    const batch = new NodeBatch();
    batch.add(1, C1, newSecret().expose(), 0);
    const terms: OrderTerms = { kind: 'order', installer: 'Kim', idC: C1, sharedKey: false, lifetime: 0, grace: 0 };
    const order = await EnrolmentTransaction.begin(registry, terms);
    await order.add(batch);
    await setPassThrough(C1, to);
    await order.commit();
    await order.close();
    expect(await held(C1)).toEqual(expected);
  });
});

describe('nodes with one initial key', () => {
  it('share the controllers that could have it, also of a node that is removed', async () => {
    const ik = newSecret();
    await fixture.order({ 11: ik }, { sharedKey: true });
    const order = await fixture.order({ 12: ik, 13: ik }, { sharedKey: true, idC: P });
    await commit(12);
    expect([await held(C1), await holders(12), await held(P)]).toEqual([[11, 12, 13], [C1], []]);
    await removeNodes(registry, [11]);
    expect([await held(C1), await holders(12), await holders(13)]).toEqual([[12, 13], [C1], [C1]]);
    expect(await exposureOfOrder(registry, order)).toMatchObject([{ holders: [C1], otherHolders: false }]);
  });

  it('share what a later assignment of one of them gives away', async () => {
    const ik = newSecret();
    await fixture.order({ 11: ik, 12: ik }, { sharedKey: true, idC: P });
    await commit(11);
    await moveNodes(registry, [12], C2);
    await moveNodes(registry, [12], P);
    expect([await held(C2), await holders(11)]).toEqual([[11, 12], [C2]]);
  });
});

describe('a new initial key', () => {
  beforeEach(async () => {
    await fixture.order({ 1: newSecret(), 2: newSecret() });
    await moveNodes(registry, [1, 2], P);
    await commit(1);
  });

  it('counts once the node has joined with it: until then its device may hold the one before', async () => {
    await resetNode(registry, 1, newSecret());
    expect([await held(C1), await holders(1)]).toEqual([[1, 2], [C1]]);
    await resetNode(registry, 1, newSecret());
    expect([await held(C1), await holders(1)]).toEqual([[1, 2], [C1]]);
    await commit(1);
    expect([await held(C1), await holders(1), await held(P)]).toEqual([[2], [], []]);
  });

  it('does not count where another node has it, and a controller could have had that', async () => {
    const shared = newSecret();
    await fixture.order({ 3: shared }, { idC: C2 });
    await resetNode(registry, 1, shared);
    await commit(1);
    expect([await held(C1), await held(C2), await holders(1)]).toEqual([[2], [1, 3], [C2]]);
  });

  it('is none if it is the one before', async () => {
    const ik = newSecret();
    await fixture.order({ 3: ik });
    await moveNodes(registry, [3], P);
    for (const change of [() => resetNode(registry, 3, ik), () => commit(3), () => resetNode(registry, 3, ik), () => commit(3)]) {
      await change();
      expect(await holders(3)).toEqual([C1]);
    }
  });

  it('that was given while the node was with another controller is that controller’s to know', async () => {
    await moveNodes(registry, [1], C2);
    await resetNode(registry, 1, newSecret());
    await moveNodes(registry, [1], P);
    await commit(1);
    expect(await holders(1)).toEqual([C2]);
  });
});

describe('an import', () => {
  it('of a node that was removed, with the same initial key, forgets nothing', async () => {
    const ik = newSecret();
    await fixture.order({ 1: ik });
    await commit(1);
    await removeNodes(registry, [1]);
    expect([await held(C1), await holders(1)]).toEqual([[], []]);
    await importNodes('add', [[1, P, ik]]);
    expect([await held(C1), await holders(1)]).toEqual([[1], [C1]]);
    await commit(1);
    expect(await held(C1)).toEqual([1]);
  });

  it('of a node that was removed, with another initial key, forgets once it has joined', async () => {
    await fixture.order({ 1: newSecret() });
    await removeNodes(registry, [1]);
    await importNodes('add', [[1, P, newSecret()]]);
    expect(await holders(1)).toEqual([C1]);
    await commit(1);
    expect(await holders(1)).toEqual([]);
  });

  it('that moves a node, or gives it another key, counts as a move, or as a reset', async () => {
    const ik = newSecret();
    await fixture.order({ 1: ik, 2: newSecret() });
    await importNodes('change', [
      [1, P, ik],
      [2, P, newSecret()],
    ]);
    expect(await held(C1)).toEqual([1, 2]);
    await commit(1);
    await commit(2);
    expect([await held(C1), await held(P)]).toEqual([[1], []]);
  });
});

describe('a restore', () => {
  it('keeps what the backup says, and says of each key from before that others may have had it', async () => {
    await fixture.order({ 1: newSecret() });
    await fixture.order({ 2: newSecret(), 3: newSecret() }, { idC: P });
    await moveNodes(registry, [1], P);
    const file = join(await tempFolder(), 'backup.lkb');
    await backup(registry, file);
    // The registry that is put back knows nothing of it.
    await moveNodes(registry, [2], C2);
    const folder = await tempFolder();
    await restore(file, { folder, master: Secret.from(MASTER), actor: 'test', replace: false });
    registry = await Registry.open(folder, Secret.from(MASTER), 'test');
    onTestFinished(() => registry.close());

    expect(await keysHeldBy(registry, C1)).toEqual({ nodes: [1], unknown: [2, 3] });
    expect(await keysHeldBy(registry, C2)).toEqual({ nodes: [], unknown: [1, 2, 3] });
    expect(await keyHoldersOf(registry, 2)).toEqual({ controllers: [], andOthers: true });
    await resetNode(registry, 2, newSecret());
    expect((await keyHoldersOf(registry, 2)).andOthers).toBe(true);
    await commit(2);
    expect([await keyHoldersOf(registry, 2), (await keysHeldBy(registry, C2)).unknown]).toEqual([
      { controllers: [], andOthers: false },
      [1, 3],
    ]);
  });
});

it('what goes through all nodes waits for its turn', async () => {
  await fixture.order({ 1: newSecret() });
  let turns = 0;
  const inTurn: Context['inTurn'] = async (walk) => {
    turns += 1;
    return walk();
  };
  const context = { registry, clock: registry.clock, actor: 'test', inTurn };
  await call(nodesShow, context, { id: '00000001', key_holders: true });
  expect(turns).toBe(1);
  expect(await call(controllersSet, context, { id: '00000001', pass_through: true })).toMatchObject({ keys_held: ['00000001'] });
  expect(turns).toBe(2);
  // This lists no keys.
  await call(controllersSet, context, { id: '00000001', pass_through: false });
  expect(turns).toBe(2);
});
