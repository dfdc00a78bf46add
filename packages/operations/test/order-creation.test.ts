// Proves that an order draws IDs that are free and keys that are random, and that its manifest can
// be read again, however long.

import { join } from 'node:path';
import { createFile, readPrivateFile } from '@latchkey/runtime/files';
import { MAX_MANIFEST, formatManifest, parseManifest } from '@latchkey/provisioning';
import { Failure } from '@latchkey/runtime/failure';
import { describe, expect, it } from 'vitest';
import { tempFolder } from '@latchkey/test-support/fixtures';
import type { NodeBatch } from '../src/node-batch.js';
import { generateNodes, remainingManifest, manifestOf } from '../src/order-creation.js';
import { orderStatus, type OrderRecord } from '@latchkey/registry';
import { addController } from '../src/administration.js';
import { addNodes, commitTo, controller, newNode, newRegistry, newSecret, TERMS } from '@latchkey/test-support/registry-fixtures';

const order = { shares: [{ idC: 9, count: 500 }], sharedKey: false, takenIds: () => Promise.resolve(new Set<number>()) };

/** ID and key of each node, in the order they were drawn. */
function drawn(batch: NodeBatch): [number, string][] {
  return Array.from({ length: batch.length }, (_, i) => [batch.idI(i), batch.ik(i).toHex()]);
}

describe('an order', () => {
  it('has an ID and a key for each node, and its controller', async () => {
    const nodes = await generateNodes(order);
    expect(new Set(drawn(nodes).map(([idI]) => idI)).size).toBe(500);
    expect(new Set(drawn(nodes).map(([, key]) => key)).size).toBe(500);
    for (let i = 0; i < 500; i++) expect(nodes.idC(i)).toBe(9);
  });

  it('has one key where it is to be shared, another for each order', async () => {
    const orders = await Promise.all([1, 2].map(() => generateNodes({ ...order, sharedKey: true })));
    const keys = orders.flatMap((nodes) => drawn(nodes).map(([, key]) => key));
    expect(new Set(keys).size).toBe(2);
  });

  it('passes over IDs that are taken', async () => {
    const [taken, free]: [number[], number[]] = [[], []];
    // Every second ID that is drawn is taken.
    const takenIds = (asked: readonly number[]): Promise<ReadonlySet<number>> => {
      for (const idI of asked) (taken.length > free.length ? free : taken).push(idI);
      return Promise.resolve(new Set(taken));
    };
    const ids = drawn(await generateNodes({ ...order, takenIds })).map(([idI]) => idI);
    expect(ids).toEqual(free);
    expect(taken.length).toBeGreaterThanOrEqual(free.length);
  });

  it('fails rather than look for free IDs for ever', async () => {
    const takenIds = (asked: readonly number[]): Promise<ReadonlySet<number>> => Promise.resolve(new Set(asked));
    await expect(generateNodes({ ...order, takenIds })).rejects.toThrow(Failure);
  });

  it.each([1, 500, 20_000])('of %i nodes has a manifest that can be read again', async (count) => {
    const [nodes, to] = [await generateNodes({ ...order, shares: [{ idC: 9, count }] }), controller({ idC: 9 })];
    const path = join(await tempFolder(), 'manifest.csv');
    await createFile(path, formatManifest(manifestOf(nodes, [to])));
    const lines = parseManifest(await readPrivateFile(path, MAX_MANIFEST), path);
    expect(lines.map(({ idI, ik }) => [idI, ik.toHex()])).toEqual(drawn(nodes).toSorted(([a], [b]) => a - b));
    expect(lines[0]).toMatchObject({ idC: 9, controller: to.nid });
  });

  it('through several controllers has as many nodes for each as were ordered, and a manifest by controller', async () => {
    const nodes = await generateNodes({
      ...order,
      shares: [
        { idC: 9, count: 3 },
        { idC: 7, count: 2 },
      ],
    });
    const [nine, seven] = [controller({ idC: 9 }), controller({ idC: 7 })];
    const lines = [...manifestOf(nodes, [nine, seven])];
    expect(lines.map(({ idC }) => idC)).toEqual([9, 9, 9, 7, 7]);
    for (const part of [lines.slice(0, 3), lines.slice(3)]) expect(part).toEqual(part.toSorted((a, b) => a.idI - b.idI));
    const keys = lines.toSorted((a, b) => a.idI - b.idI).map(({ idI, ik }) => [idI, ik.toHex()]);
    expect(keys).toEqual(drawn(nodes).toSorted(([a], [b]) => a - b));
  });

  it('is handed over again without the nodes that have joined, and those of other orders', async () => {
    const registry = await newRegistry();
    const to = controller();
    await addController(registry, to);
    const nodes = [newNode(3), newNode(1), newNode(2)];
    const [number = 0] = await addNodes(registry, nodes);
    await addNodes(registry, [newNode(4)]);
    await commitTo(registry, await registry.node(1), newSecret());
    expect(
      (await remainingManifest(registry, number)).map(({ idI, idC, controller: nid, ik }) => [idI, idC, { ...nid }, ik.toHex()]),
    ).toEqual([
      [2, to.idC, to.nid, nodes[2]?.key.toHex()],
      [3, to.idC, to.nid, nodes[0]?.key.toHex()],
    ]);
  });
});

describe('the state of an order', () => {
  const made: OrderRecord = { ...TERMS, number: 1, state: 'open', count: 1, createdAt: 0, createdEntry: 1, entry: 1 };

  it.each<[string, Partial<OrderRecord>]>([
    ['open', {}],
    ['open', { joinFrom: 1_000, joinUntil: 1_000 }],
    ['scheduled', { joinFrom: 1_001 }],
    ['ended', { joinUntil: 999 }],
    ['suspended', { state: 'suspended', joinUntil: 999 }],
    ['closed', { state: 'closed', joinFrom: 1_001 }],
  ])('is %s with %o', (state, more) => {
    expect(orderStatus({ ...made, ...more }, 1_000)).toBe(state);
  });

  it('is none as long as it is not finished', () => {
    expect(orderStatus({ ...made, state: 'pending' }, 1_000)).toBeUndefined();
  });
});
