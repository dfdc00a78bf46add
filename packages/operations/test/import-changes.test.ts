// Proves that one import changes no more nodes than one transaction may hold up the server for, and
// none that is not as it was when the import was judged.

import { randomBytes } from 'node:crypto';
import { describe, expect, it, vi } from 'vitest';
import { NodeBatch } from '../src/node-batch.js';
import { addController } from '../src/administration.js';
import { Failure } from '@latchkey/runtime/failure';
import { enrol, EnrolmentTransaction } from '../src/enrolment.js';
import { planImport } from '../src/import/import-plan.js';
import { AdminFixture, newSecret } from '@latchkey/test-support/admin-fixture';
import { controller, ID_C, newRegistry } from '@latchkey/test-support/registry-fixtures';
import { call, type Context, importsRun, nodesDisable, nodesMove, nodesRemove } from '../src/index.js';

function batchOf(ids: readonly number[]): NodeBatch {
  const batch = new NodeBatch();
  for (const [i, id] of ids.entries()) batch.add(id, ID_C, randomBytes(16), i + 1);
  return batch;
}

it('an import that would change too many nodes is refused from there on, and adds without bound', async () => {
  const registry = await newRegistry();
  await addController(registry, controller());
  const terms = { kind: 'import', installer: 'Ada', idC: undefined, sharedKey: false, lifetime: 0, grace: 0 } as const;
  await enrol(registry, { terms, batch: batchOf([1, 2, 3]) });
  const plan = await planImport(registry, batchOf([1, 2, 3, 4, 5, 6]), { maxChanges: 2 });
  expect(plan.counts).toEqual({ add: 3, change: 2, unchanged: 0, duplicate: 0, reject: 1 });
  expect(plan.problems).toMatchObject([{ line: 3, id: '00000003', reason: 'more than 2 nodes to change: import them in parts' }]);
});

it('an import changes no more nodes than the storage engine takes in one write', async () => {
  const { registry } = await AdminFixture.open('memory');
  const terms = { kind: 'import', installer: 'Ada', idC: undefined, sharedKey: false, lifetime: 0, grace: 0 } as const;
  await enrol(registry, { terms, batch: batchOf([1, 2, 3]) });
  Object.assign(registry.storage, { maxNodesPerWrite: 2 });
  const plan = await planImport(registry, batchOf([1, 2, 3, 4]));
  expect(plan.counts).toEqual({ add: 1, change: 2, unchanged: 0, duplicate: 0, reject: 1 });
});

const SECOND = { select: { ids: ['00000002'] } };
type Change = (context: Context) => Promise<unknown>;

describe('an import that was judged', () => {
  it.each<[what: string, change: Change, how: string]>([
    ['moved', (context) => call(nodesMove, context, { ...SECOND, to: '00000002' }), 'was changed'],
    ['disabled', (context) => call(nodesDisable, context, SECOND), 'was changed'],
    ['removed', (context) => call(nodesRemove, context, SECOND), 'was removed'],
  ])('does nothing where a node was %s meanwhile', async (_, change, how) => {
    const fixture = await AdminFixture.open('memory');
    const { registry } = fixture;
    await fixture.order({ 1: newSecret(), 2: newSecret() });
    const lines = [1, 2, 3].map((id) => `0000000${id},00000001,192.0.2.1:5684,${newSecret().toHex()}\n`);
    const octets = Buffer.from(`id,controller_id,controller,ik\n${lines.join('')}`);
    const clock = (): { wallMs: number; monotonicMs: number } => ({ wallMs: Date.now(), monotonicMs: Date.now() });
    const context = { registry, clock, actor: 'user ada' };
    const first = await registry.node(1);
    let meanwhile: unknown;
    const importing = call(
      importsRun,
      {
        ...context,
        file: { name: 'the file', octets },
        decrypt: {},
        report: async ({ changed, added }) => {
          expect([changed, added]).toEqual([2, 1]);
          await change(context);
          meanwhile = await registry.node(2);
        },
      },
      { installer: 'Kim', lifetime_seconds: 60, shared_key: false, skip_bad: false, dry_run: false },
    );
    await expect(importing).rejects.toMatchObject({
      message: `node 00000002 ${how} meanwhile`,
      advice: 'Nothing was changed. Try again.',
    });
    expect([await registry.node(1), await registry.node(2), await registry.node(3)]).toEqual([first, meanwhile, undefined]);
  });
});

it('the keys of an import are wiped if it fails', async () => {
  const { registry } = await AdminFixture.open('memory');
  const octets = Buffer.from(`id,controller_id,controller,ik\n00000007,00000001,192.0.2.1:5684,${newSecret().toHex()}\n`);
  let batch: NodeBatch | undefined;
  vi.spyOn(EnrolmentTransaction.prototype, 'add').mockImplementationOnce((added) => {
    batch = added;
    return Promise.reject(new Failure('the disk is full'));
  });
  const clock = (): { wallMs: number; monotonicMs: number } => ({ wallMs: Date.now(), monotonicMs: Date.now() });
  const importing = call(
    importsRun,
    { registry, clock, actor: 'user ada', file: { name: 'the file', octets }, decrypt: {} },
    { installer: 'Kim', lifetime_seconds: 60, shared_key: false, skip_bad: false, dry_run: false },
  );
  await expect(importing).rejects.toThrow('the disk is full');
  expect(batch?.ik(0).toHex()).toBe('00'.repeat(16));
});
