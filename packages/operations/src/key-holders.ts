/**
 * Which controllers could have the key of a node, and which nodes a controller could follow. What
 * counts is the identity of the initial key: nodes with one initial key share the controllers that
 * could have it. A node that was given another initial key and has not joined with it may have a
 * device that still holds the one before, so that counts as well.
 */

import type { Registry } from '@latchkey/registry';
import { formerPossessions, type Possession, possessions } from './key-possessions.js';

/** The nodes whose keys one controller could have, in ascending order of ID. */
export interface HeldKeys {
  readonly nodes: readonly number[];
  /** Nodes of which the registry does not know: see `Possession.otherHolders`. */
  readonly unknown: readonly number[];
}

/**
 * Lists the nodes whose keys a controller could have, whichever controller they are assigned to
 * now.
 */
export async function keysHeldBy(registry: Registry, idC: number): Promise<HeldKeys> {
  const [held, unknown] = [new Set<string>(), new Set<string>()];
  const before = new FormerKeys();
  for await (const page of possessions(registry))
    for (const possession of page) {
      if (possession.holders.includes(idC)) held.add(possession.initialKeyId);
      else if (possession.otherHolders) unknown.add(possession.initialKeyId);
      if (!possession.present) before.add(possession);
    }
  const result = { nodes: [] as number[], unknown: [] as number[] };
  if (held.size + unknown.size === 0) return result;
  for await (const page of registry.nodePages())
    for (const { idI, initial, ik } of page) {
      const keys = [ik.id, ...(initial ? before.of(idI) : [])];
      if (keys.some((id) => held.has(id))) result.nodes.push(idI);
      else if (keys.some((id) => unknown.has(id))) result.unknown.push(idI);
    }
  return result;
}

/** The controllers that could have the key of one node. */
export interface KeyHolders {
  readonly controllers: readonly number[];
  /** Whether more could: see `Possession.otherHolders`. */
  readonly andOthers: boolean;
}

/**
 * Lists the controllers that could have the key of a node. Reads the registry from end to end: no
 * index says which nodes have, or had, one initial key.
 */
export async function keyHoldersOf(registry: Registry, idI: number): Promise<KeyHolders> {
  const [node] = await registry.nodesById([idI]);
  if (node === undefined) return { controllers: [], andOthers: false };
  // After the node: a key that is taken in between is among these.
  const before = new FormerKeys();
  for await (const page of formerPossessions(registry))
    for (const possession of page) if (possession.idI === idI) before.add(possession);
  const keys = new Set([node.ik.id, ...(node.initial ? before.of(idI) : [])]);
  const controllers = new Set<number>();
  let andOthers = false;
  for await (const page of possessions(registry))
    for (const { initialKeyId, holders, otherHolders } of page) {
      if (!keys.has(initialKeyId)) continue;
      for (const idC of holders) controllers.add(idC);
      andOthers ||= otherHolders;
    }
  return { controllers: [...controllers].toSorted((a, b) => a - b), andOthers };
}

/** The initial keys that were taken from nodes, and that their devices may still hold. */
class FormerKeys {
  readonly #keys = new Map<number, string[]>();

  /** In the order in which they were taken. One that was traded in had replaced each before it. */
  add({ idI, initialKeyId, joined }: Possession): void {
    const before = joined ? [] : (this.#keys.get(idI) ?? []);
    this.#keys.set(idI, [...before, initialKeyId]);
  }

  /** By identity, for a node that has not traded in its present one. */
  of(idI: number): readonly string[] {
    return this.#keys.get(idI) ?? [];
  }
}
