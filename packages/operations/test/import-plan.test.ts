// Proves what an import would do with each line, in words and numbers, and that planning it changes
// nothing.

import { allOf } from '@latchkey/registry';
import { describe, expect, it } from 'vitest';
import { addController, moveNodes, setDisabled } from '../src/administration.js';
import { enrol } from '../src/enrolment.js';
import { ImportPlan, planImport } from '../src/import/import-plan.js';
import type { Registry } from '@latchkey/registry';
import {
  addNodes,
  batchOf,
  commitTo,
  controller,
  newNode,
  newRegistry,
  newSecret,
  numbered,
  TERMS,
} from '@latchkey/test-support/registry-fixtures';

/** Nodes 10 to 19 under controller 1, with keys of their number; controller 2 beside it. */
async function registryOfTen(): Promise<Registry> {
  const registry = await newRegistry();
  for (const idC of [1, 2]) await addController(registry, controller({ idC }));
  await addNodes(
    registry,
    Array.from({ length: 10 }, (_, i) => newNode(10 + i, { key: numbered(10 + i) })),
  );
  return registry;
}

const line = (idI: number, key: number = idI, idC: number = 1): ReturnType<typeof newNode> =>
  newNode(idI, { key: numbered(key), controller: idC });

const none = { add: 0, change: 0, unchanged: 0, duplicate: 0, reject: 0 };

describe('a line', () => {
  it('is added where its ID is new, also beside nodes that were taken out of another order', async () => {
    const plan = await planImport(await registryOfTen(), batchOf([line(9), line(0), line(0xffff_ffff)]));
    expect([plan.counts, plan.problems, plan.changes]).toEqual([{ ...none, add: 3 }, [], []]);
    expect([0, 1, 2].map((i) => plan.actionFor(i))).toEqual(['add', 'add', 'add']);
  });

  it('is as it was where the node has that key and controller, also one that has joined or is disabled', async () => {
    const registry = await registryOfTen();
    await commitTo(registry, await registry.node(11), newSecret());
    await setDisabled(registry, [12], true);
    const plan = await planImport(registry, batchOf([line(10), line(11), line(12)]));
    expect([plan.counts, plan.problems, plan.changes]).toEqual([{ ...none, unchanged: 3 }, [], []]);
  });

  it('changes the key, the controller, or both, of a node that has not joined', async () => {
    const plan = await planImport(await registryOfTen(), batchOf([line(12, 12, 2), line(10, 99), line(11, 98, 2)]));
    expect(plan.counts).toEqual({ ...none, change: 3 });
    expect(plan.changes).toEqual([
      { line: 1, id: '0000000c', reason: 'controller 00000001 -> 00000002' },
      { line: 2, id: '0000000a', reason: 'another key' },
      { line: 3, id: '0000000b', reason: 'another key, controller 00000001 -> 00000002' },
    ]);
  });

  it('is compared with the controller the node has now', async () => {
    const registry = await registryOfTen();
    await moveNodes(registry, [10], 2);
    const plan = await planImport(registry, batchOf([line(10), line(10 + 1, 11, 2)]));
    expect(plan.changes.map(({ reason }) => reason)).toEqual([
      'controller 00000002 -> 00000001',
      'controller 00000001 -> 00000002',
    ]);
  });

  it('is refused for a controller nobody knows, for a node that has joined, and for an ID that stands above', async () => {
    const registry = await registryOfTen();
    for (const idI of [15, 16]) await commitTo(registry, await registry.node(idI), newSecret());
    const lines = [line(30), line(31, 31, 3), line(15, 15, 2), line(16, 99), line(30, 77), line(10), line(10), line(30)];
    const plan = await planImport(registry, batchOf(lines));
    expect(plan.problems).toEqual([
      { line: 2, id: '0000001f', reason: 'controller 00000003 is not in the registry' },
      { line: 3, id: '0000000f', reason: 'has joined, through another controller: node move' },
      { line: 4, id: '00000010', reason: 'has joined, with another initial key: node reset' },
      { line: 5, id: '0000001e', reason: 'stands in line 1 already, with another initial key' },
    ]);
    expect(lines.map((_, i) => plan.actionFor(i))).toEqual([
      'add',
      ...Array<string>(4).fill('reject'),
      'unchanged',
      'duplicate',
      'duplicate',
    ]);
    expect(plan.counts).toEqual({ ...none, add: 1, unchanged: 1, duplicate: 2, reject: 4 });
  });

  it('is told in words that hold no key', async () => {
    const registry = await registryOfTen();
    await commitTo(registry, await registry.node(15), newSecret());
    const { problems, changes } = await planImport(registry, batchOf([line(10, 99), line(15, 98), line(16, 97, 9)]));
    expect(JSON.stringify([problems, changes])).not.toMatch(/[0-9a-f]{16}/);
  });
});

describe('a plan', () => {
  it('changes nothing, and what is written by it is what it said', async () => {
    const registry = await registryOfTen();
    await commitTo(registry, await registry.node(15), newSecret());
    const head = await registry.audit.readHead();
    const batch = batchOf([line(40), line(11, 99), line(12, 12, 2), line(13), line(15, 99), line(41, 41, 9)]);
    const plan = await planImport(registry, batch);
    expect(await registry.audit.readHead()).toEqual(head);
    await enrol(registry, { terms: { ...TERMS, kind: 'import' }, batch, action: (i) => plan.actionFor(i) });
    expect(plan.counts).toEqual({ ...none, add: 1, change: 2, unchanged: 1, reject: 2 });
    const again = await planImport(registry, batch);
    expect(again.counts).toEqual({ ...none, unchanged: 4, reject: 2 });
    expect(await allOf(registry.nodePages())).toHaveLength(11);
  });

  it('of 50,000 lines in any order says which of two lines comes first', async () => {
    const registry = await registryOfTen();
    const lines = Array.from({ length: 50_000 }, (_, i) => line(((i * 7_919) % 25_000) + 100, i));
    const plan = await planImport(registry, batchOf(lines));
    expect(plan.counts).toEqual({ ...none, add: 25_000, reject: 25_000 });
    const words = (at: number): string => `stands in line ${at - 25_000} already, with another initial key`;
    expect(plan.problems.every(({ line: at, reason }) => reason === words(at))).toBe(true);
    expect(plan.problems.map(({ line: at }) => at)).toEqual(Array.from({ length: 25_000 }, (_, i) => 25_001 + i));
  });

  it('keeps a bounded number of problems', () => {
    const plan = new ImportPlan(0);
    for (let i = 0; i < 150_000; i++) plan.addRejected({ line: i, reason: 'x' });
    expect(plan.problems).toHaveLength(100_000);
  });
});

it('names what it would add, by line, where that is wanted', async () => {
  const registry = await registryOfTen();
  const batch = batchOf([line(9), line(10), line(0)]);
  expect((await planImport(registry, batch)).additions).toEqual([]);
  expect((await planImport(registry, batch, { listAdditions: true })).additions).toEqual([
    { line: batch.line(0), id: '00000009' },
    { line: batch.line(2), id: '00000000' },
  ]);
});
