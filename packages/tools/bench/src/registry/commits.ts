import { randomBytes } from 'node:crypto';
import type { Registry } from '@latchkey/registry';
import { Secret } from '@latchkey/protocol';
import { encodeNid } from '@latchkey/runtime/net';
import { type Fleet, ID_C } from './fleet.js';
import { runConcurrently } from './joins.js';

/** Looks nodes up; what it gives commits a key of each, `inFlight` at a time. */
export async function prepareCommits(
  registry: Registry,
  fleet: Fleet,
  nodes: readonly number[],
  inFlight: number,
): Promise<() => Promise<void>> {
  const nidI = encodeNid('192.0.2.77', 49_152);
  const items: { readonly i: number; readonly node: NonNullable<Awaited<ReturnType<Registry['node']>>>; readonly to: Secret }[] =
    [];
  for (const i of nodes) {
    const node = await registry.node(fleet.idI(i));
    if (node === undefined) throw new Error('a node of the fleet is not in the registry');
    items.push({ i, node, to: Secret.from(randomBytes(16)) });
  }
  return async () => {
    await runConcurrently(items, inFlight, async ({ i, node, to }) => {
      const commit = { idC: ID_C, tid: BigInt(i), ts: Date.now(), nidI, lifetime: 0 };
      const result = await registry.commit(node, to, commit, Date.now, () => true);
      if (result !== 'committed') throw new Error(`a commit was ${result}`);
    });
    for (const { i, to } of items) fleet.joined(i, to);
  };
}
