// Proves that an initial key which several nodes have is found, in a file and in the registry, and
// that no other is called that.

import { randomBytes } from 'node:crypto';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { addController, removeNodes } from '../src/administration.js';
import { initialKeyId, type Registry } from '@latchkey/registry';
import { identityOf, ImportKeys, type KeyHolder, type KeyRows, type RepeatedKeys } from '../src/import/import-keys.js';
import { planImport } from '../src/import/import-plan.js';
import {
  addNodes,
  batchOf,
  commitTo,
  controller,
  newNode,
  newRegistry,
  newSecret,
  numbered,
} from '@latchkey/test-support/registry-fixtures';

async function newRegistryWith(...nodes: readonly ReturnType<typeof newNode>[]): Promise<Registry> {
  const registry = await newRegistry();
  for (const idC of [1, 2]) await addController(registry, controller({ idC }));
  if (nodes.length > 0) await addNodes(registry, nodes);
  return registry;
}

/** The rows of a file, from line 2 on. */
type Rows = readonly (readonly [idI: number, key: number])[];

async function repeatedOf(registry: Registry, rows: Rows): Promise<RepeatedKeys> {
  const identity = registry.initialKeyIdKey();
  const keys = new ImportKeys(registry, identity);
  identity.wipe();
  const forEachRow = async (row: Parameters<KeyRows['forEachRow']>[0]): Promise<void> => {
    for (const [i, [idI, key]] of rows.entries()) row({ idI, line: i + 2, ik: numbered(key).expose() });
  };
  await forEachRow((row) => keys.add(row));
  return keys.repeated({ forEachRow });
}

/** Holders by the number of the key. */
async function holdersOf(registry: Registry, rows: Rows): Promise<Record<number, readonly KeyHolder[]>> {
  const identity = registry.initialKeyIdKey();
  const numbers = new Map(
    [...new Set(rows.map(([, key]) => key))].map((key) => [identityOf(initialKeyId(identity, numbered(key))), key]),
  );
  return Object.fromEntries([...(await repeatedOf(registry, rows))].map(([key, holders]) => [numbers.get(key) ?? -1, holders]));
}

const planOf = async (registry: Registry, rows: Rows): Promise<[number, string][]> => {
  const lines = rows.map(([idI, key]) => newNode(idI, { key: numbered(key) }));
  const plan = await planImport(registry, batchOf(lines), { repeated: await repeatedOf(registry, rows) });
  return plan.problems.map(({ line, reason }) => [line, reason]);
};

describe('in a file', () => {
  it('a key is found that two nodes have, but not one in a row that stands twice', async () => {
    const registry = await newRegistryWith();
    expect(
      await holdersOf(registry, [
        [1, 10],
        [2, 20],
        [3, 10],
        [2, 20],
        [4, 10],
        [5, 50],
      ]),
    ).toEqual({
      10: [
        { idI: 1, line: 2 },
        { idI: 3, line: 4 },
      ],
    });
  });

  it('those are found that a look at every pair would find, in files of any length', async () => {
    const registry = await newRegistryWith();
    const rows = fc.array(fc.tuple(fc.integer({ min: 1, max: 30 }), fc.integer({ min: 1, max: 30 })), { maxLength: 40 });
    await fc.assert(
      fc.asyncProperty(rows, async (rows) => {
        const nodesOf = (key: number): number => new Set(rows.filter(([, other]) => other === key).map(([idI]) => idI)).size;
        const found = await holdersOf(registry, rows);
        expect(
          Object.keys(found)
            .map(Number)
            .toSorted((a, b) => a - b),
        ).toEqual([...new Set(rows.map(([, key]) => key))].filter((key) => nodesOf(key) > 1).toSorted((a, b) => a - b));
        for (const holders of Object.values(found)) expect(new Set(holders.map(({ idI }) => idI)).size).toBe(2);
      }),
    );
  });

  it('of 200,000 rows two are found among keys that differ in one octet', async () => {
    const registry = await newRegistryWith();
    const rows = Array.from({ length: 200_000 }, (_, i) => [i, i + 1] as const);
    expect((await repeatedOf(registry, rows)).size).toBe(0);
    expect(await holdersOf(registry, [...rows, [0xffff_ffff, 77_777]])).toEqual({
      77777: [
        { idI: 77_776, line: 77_778 },
        { idI: 0xffff_ffff, line: 200_002 },
      ],
    });
  });

  it('more rows than there is room for are refused', async () => {
    const registry = await newRegistryWith();
    const identity = registry.initialKeyIdKey();
    const keys = new ImportKeys(registry, identity);
    const ik = numbered(1).expose();
    for (let i = 0; i < 4_194_304; i++) keys.add({ idI: i, line: i + 2, ik });
    expect(() => keys.add({ idI: 0, line: 1, ik })).toThrow('the file has more than 4194304 nodes');
  });

  it('too many to be named are refused', async () => {
    const registry = await newRegistryWith();
    const rows = Array.from({ length: 200_002 }, (_, i) => [i, i % 100_001] as const);
    await expect(repeatedOf(registry, rows)).rejects.toThrow('more than 100000 initial keys are those of several nodes');
  });
});

describe('in the registry', () => {
  it('a key is found that another node has or had, one that is removed left out', async () => {
    const registry = await newRegistryWith(...[1, 2, 3].map((i) => newNode(i, { key: numbered(i) })));
    await commitTo(registry, await registry.node(2), newSecret());
    await removeNodes(registry, [3]);
    expect(
      await holdersOf(registry, [
        [11, 1],
        [12, 2],
        [13, 3],
        [14, 4],
      ]),
    ).toEqual({
      1: [{ idI: 1, order: 1 }],
      2: [{ idI: 2, order: 1 }],
    });
  });

  it('a key is found that very many nodes share', async () => {
    const registry = await newRegistryWith(...Array.from({ length: 20_000 }, (_, i) => newNode(i, { key: numbered(1) })));
    const { 1: holders } = await holdersOf(registry, [[30_000, 1]]);
    expect(holders?.map(({ idI }) => idI)).toEqual([0, 1]);
  });

  it('a key is none’s that the file gives another one', async () => {
    const registry = await newRegistryWith(newNode(1, { key: numbered(1) }), newNode(2, { key: numbered(2) }));
    expect(
      await holdersOf(registry, [
        [1, 2],
        [2, 1],
        [3, 3],
      ]),
    ).toEqual({});
    expect(
      await holdersOf(registry, [
        [1, 1],
        [2, 2],
      ]),
    ).toEqual({});
  });
});

describe('a plan', () => {
  it('refuses each line that would have two nodes share a key, and says with which', async () => {
    const registry = await newRegistryWith(newNode(1, { key: numbered(1) }), newNode(2, { key: numbered(2) }));
    expect(
      await planOf(registry, [
        [10, 5],
        [11, 5],
        [12, 1],
        [2, 6],
        [13, 6],
        [14, 14],
      ]),
    ).toEqual([
      [1, 'its initial key is that of node 0000000b in line 3, too'],
      [2, 'its initial key is that of node 0000000a in line 2, too'],
      [3, 'its initial key is that of node 00000001 of order 1 in the registry, too'],
      [4, 'its initial key is that of node 0000000d in line 6, too'],
      [5, 'its initial key is that of node 00000002 in line 5, too'],
    ]);
  });

  it('leaves nodes alone that share a key already', async () => {
    const key = randomBytes(4).readUInt32BE();
    const registry = await newRegistryWith(...[1, 2].map((i) => newNode(i, { key: numbered(key) })));
    expect(
      await planOf(registry, [
        [1, key],
        [2, key],
      ]),
    ).toEqual([]);
    expect(
      await planOf(registry, [
        [1, key],
        [2, key],
        [3, key],
      ]),
    ).toEqual([[3, 'its initial key is that of node 00000001 in line 2, too']]);
  });
});
