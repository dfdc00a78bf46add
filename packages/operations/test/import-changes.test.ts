// Proves that one import changes no more nodes than one transaction may hold up the server for.

import { randomBytes } from 'node:crypto';
import { expect, it } from 'vitest';
import { NodeBatch } from '../src/node-batch.js';
import { addController } from '../src/administration.js';
import { enrol } from '../src/enrolment.js';
import { planImport } from '../src/import/import-plan.js';
import { controller, ID_C, newRegistry } from '@latchkey/test-support/registry-fixtures';

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
