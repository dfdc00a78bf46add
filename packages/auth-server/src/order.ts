/** The draft's steps 1 and 2: what is ordered from an installer, drawn, stored and handed over. */

import { randomBytes, randomInt } from 'node:crypto';
import { MAX_ID, type NodeRecord, RN_LENGTH, Secret } from '@latchkey/protocol';
import { Failure, type ManifestLine } from '@latchkey/runtime';
import type { ControllerRecord } from './registry.js';

/** How long an expired key may still renew itself, in seconds: 7 days. */
const DEFAULT_GRACE = 604_800;
/** Nodes in one order at most. */
export const MAX_ORDER = 1_000_000;

export interface OrderRequest {
  readonly controller: ControllerRecord;
  readonly count: number;
  /** One IK for all nodes of the order, as the draft allows, instead of one per node. */
  readonly sharedKey: boolean;
  /** Seconds; 0 = no expiry. */
  readonly lifetime: number;
  readonly isTaken: (idI: number) => boolean;
}

/** Draws an ID and an IK for each node. */
export function drawNodes({ controller, count, sharedKey, lifetime, isTaken }: OrderRequest): NodeRecord[] {
  const ids = drawIds(count, isTaken);
  const shared = sharedKey ? drawKey() : undefined;
  return ids.map((idI) => newNode({ idI, idC: controller.idC, ik: shared ?? drawKey() }, lifetime));
}

/** A node that has never joined. */
export function newNode(line: Pick<ManifestLine, 'idI' | 'idC' | 'ik'>, lifetime: number): NodeRecord {
  return { idI: line.idI, key: line.ik, initial: true, controller: line.idC, disabled: false, lifetime, grace: DEFAULT_GRACE };
}

/** What the installer gets to know of each node. */
export function manifestOf(nodes: readonly NodeRecord[], controller: ControllerRecord): ManifestLine[] {
  return nodes.map((node) => ({ idI: node.idI, idC: controller.idC, controller: controller.nid, ik: node.key }));
}

export function drawKey(): Secret {
  const octets = randomBytes(RN_LENGTH);
  const key = Secret.from(octets);
  octets.fill(0);
  return key;
}

function drawIds(count: number, isTaken: (idI: number) => boolean): number[] {
  const ids = new Set<number>();
  // Of 2^32 IDs a registry holds a few million: one draw in a thousand meets a taken one.
  for (let draws = 0; ids.size < count; draws++) {
    if (draws > 2 * count + 1000) throw new Failure('no unused IDs can be found for the order');
    const id = randomInt(0, MAX_ID + 1);
    if (!isTaken(id)) ids.add(id);
  }
  return [...ids];
}
