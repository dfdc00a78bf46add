/** The draft's steps 1 and 2: generates, stores and hands over an order for an installer. */

import { randomBytes, randomFillSync, randomInt } from 'node:crypto';
import { KEY_LENGTH, MAX_ID, RN_LENGTH, Secret } from '@latchkey/protocol';
import { Failure } from '@latchkey/runtime/failure';
import type { ManifestLine } from '@latchkey/provisioning';
import { NodeBatch } from './node-batch.js';
import { queryNodes } from './node-query.js';
import type { DeviceKeys } from './import/device-keys.js';
import type { Registry, ControllerInfo } from '@latchkey/registry';

/** How many nodes of an order join through one controller. */
export interface ControllerShare {
  readonly idC: number;
  readonly count: number;
}

export interface OrderRequest {
  readonly shares: readonly ControllerShare[];
  /** One IK for all nodes of the order, as the draft allows, instead of one per node. */
  readonly sharedKey: boolean;
  /** Which of these IDs are taken. */
  readonly takenIds: (ids: readonly number[]) => Promise<ReadonlySet<number>>;
}

/** Draws an ID and an IK for each node. */
export async function generateNodes({ shares, sharedKey, takenIds }: OrderRequest): Promise<NodeBatch> {
  const ids = (await generateIds(nodesOf(shares), takenIds)).values();
  const batch = new NodeBatch();
  const ik = randomBytes(KEY_LENGTH);
  for (const idC of controllersOf(shares)) {
    const { value: idI } = ids.next();
    if (idI === undefined) throw new RangeError('fewer IDs than nodes');
    batch.add(idI, idC, ik, 0);
    if (!sharedKey) randomFillSync(ik);
  }
  ik.fill(0);
  return batch;
}

export function nodesOf(shares: readonly ControllerShare[]): number {
  return shares.reduce((sum, { count }) => sum + count, 0);
}

/** The controller of each node, one after the other. */
function* controllersOf(shares: readonly ControllerShare[]): Generator<number, undefined> {
  for (const { idC, count } of shares) for (let i = 0; i < count; i++) yield idC;
}

/**
 * Generates the installer's half of each initial key, and combines it with the device key. The
 * manufacturer assigned the IDs.
 *
 * @param shares for as many nodes as there are device keys
 */
export function generateSplitNodes(shares: readonly ControllerShare[], deviceKeys: DeviceKeys, sharedHalf: boolean): NodeBatch {
  const batch = new NodeBatch(true);
  const controllers = controllersOf(shares);
  let half = generateKey();
  for (const { idI, line } of deviceKeys.entries()) {
    const ik = deviceKeys.combine(idI, half);
    const { value: idC } = controllers.next();
    if (ik === undefined || idC === undefined) throw new RangeError('a device key is not where it was');
    batch.add(idI, idC, ik.expose(), line, half.expose());
    ik.wipe();
    if (sharedHalf) continue;
    half.wipe();
    half = generateKey();
  }
  half.wipe();
  return batch;
}

/**
 * What the installer gets to know of each node, by controller and ID: the whole initial key, or the
 * installer's half.
 */
export function* manifestOf(batch: NodeBatch, controllers: readonly ControllerInfo[]): Generator<ManifestLine> {
  for (const { idC, nid } of controllers)
    for (const i of batch.indicesById())
      if (batch.idC(i) === idC) yield { idI: batch.idI(i), idC, controller: nid, ik: batch.half(i) ?? batch.ik(i) };
}

/**
 * What the installer needs of the nodes of an order that have not joined yet, by controller and ID:
 * handed over again.
 */
export async function remainingManifest(registry: Registry, order: number): Promise<ManifestLine[]> {
  const lines: ManifestLine[] = [];
  for await (const page of queryNodes(registry, { order, neverJoined: true }, Date.now())) {
    const found = await registry.describedNodes(page.map(({ idI }) => idI));
    for (const { node, controller } of found) {
      // The node may have joined since its page was read. Its key must not be handed over then.
      if (!node.initial || controller === undefined) {
        node.key.wipe();
        continue;
      }
      const half = registry.installerHalf(node);
      if (half !== undefined) node.key.wipe();
      lines.push({ idI: node.idI, idC: node.controller, controller: controller.nid, ik: half ?? node.key });
    }
  }
  return lines.toSorted((a, b) => a.idC - b.idC || a.idI - b.idI);
}

export function generateKey(): Secret {
  const octets = randomBytes(RN_LENGTH);
  const key = Secret.from(octets);
  octets.fill(0);
  return key;
}

async function generateIds(count: number, takenIds: OrderRequest['takenIds']): Promise<ReadonlySet<number>> {
  const ids = new Set<number>();
  // Of 2^32 IDs a registry holds a few million: one random ID in a thousand is taken.
  for (let attempts = 0; ids.size < count;) {
    const drawn = new Set<number>();
    while (ids.size + drawn.size < count) {
      if (++attempts > 2 * count + 1000) throw new Failure('no unused IDs can be found for the order');
      const id = randomInt(0, MAX_ID + 1);
      if (!ids.has(id)) drawn.add(id);
    }
    const taken = await takenIds([...drawn]);
    for (const id of drawn) if (!taken.has(id)) ids.add(id);
  }
  return ids;
}
