/**
 * Lists the initial keys that each node has or had, and the controllers that could have a key
 * derived from each. Such a key is the initial key, or one of the PSKs that follow from it. An
 * attacker with one key of a node, who records its later joins, has each later key.
 *
 * A controller could have the keys of nodes that were assigned to it while it was not pass-through.
 * The registry stores assignments whether or not a node joined in that time, so that an M3 needs no
 * write.
 */

import {
  type ControllerInfo,
  InitialKeyInfo,
  keyHolders,
  type NodeInfo,
  type Registry,
  type RetiredInitialKeyRow,
} from '@latchkey/registry';

/** An initial key in the hands of one node, now or once. */
export interface Possession {
  readonly idI: number;
  /** 16 hex digits. */
  readonly initialKeyId: string;
  readonly fingerprint: string;
  readonly order: number;
  /** Who has the device key, if the IK is split. */
  readonly manufacturer: string | undefined;
  /** ms since the epoch. */
  readonly issuedAt: number;
  /** Controllers through which the node traded it in, and so were given it. */
  readonly seenBy: readonly number[];
  /** Controllers that could have it, or a key that derives from it. */
  readonly holders: readonly number[];
  /**
   * True if further controllers could, too. A row has a maximum of names, and after a restore the
   * assignments since the backup are lost.
   */
  readonly otherHolders: boolean;
  /** True if it is the node's current initial key. False if it was taken from the node. */
  readonly present: boolean;
  /** Whether it is the node's key. */
  readonly held: boolean;
  /** Whether the node traded it in. */
  readonly joined: boolean;
  /** When the node traded it in or had it taken, ms since the epoch. */
  readonly heldUntil: number;
}

/**
 * Iterates over pages: present keys in ascending order of ID, then retired keys, oldest first. A
 * key that is retired during the walk may occur twice, but is never missed.
 */
export async function* possessions(registry: Registry): AsyncGenerator<readonly Possession[]> {
  const restoredEntry = registry.restored?.entry ?? 0;
  const controllers = new Map((await registry.controllers()).map((controller) => [controller.idC, controller]));
  for await (const page of registry.nodePages())
    yield page.map((node) => possessionOf(node, controllers.get(node.controller), restoredEntry));
  yield* formerPossessions(registry);
}

/** Those that were taken, oldest first, in pages. */
export async function* formerPossessions(registry: Registry): AsyncGenerator<readonly Possession[]> {
  const restoredEntry = registry.restored?.entry ?? 0;
  for await (const page of registry.retiredInitialKeyPages()) yield page.map((row) => formerPossession(row, restoredEntry));
}

function formerPossession(row: RetiredInitialKeyRow, restoredEntry: number): Possession {
  const { node: idI, order, issuedAt, retiredAt, joined, seenBy, manufacturer, holders, issueEntry } = row;
  const { id, fingerprint } = new InitialKeyInfo(row.ik, issuedAt);
  return {
    idI,
    initialKeyId: id,
    fingerprint,
    order,
    manufacturer,
    issuedAt,
    seenBy,
    holders: holders.controllers,
    otherHolders: holders.andOthers === true || issueEntry < restoredEntry,
    present: false,
    held: false,
    joined,
    heldUntil: retiredAt,
  };
}

function possessionOf(node: NodeInfo, controller: ControllerInfo | undefined, restoredEntry: number): Possession {
  const { idI, ik, order, manufacturer, seenBy, initial, joinedAt, formerHolders, assignedEntry, initialKeyEntry } = node;
  const holders = keyHolders(formerHolders, node.controller, assignedEntry, controller ?? {});
  return {
    idI,
    initialKeyId: ik.id,
    fingerprint: ik.fingerprint,
    order,
    manufacturer,
    issuedAt: ik.issuedAt,
    seenBy,
    holders: holders.controllers,
    otherHolders: holders.andOthers === true || initialKeyEntry < restoredEntry,
    present: true,
    held: initial,
    joined: !initial,
    heldUntil: joinedAt ?? 0,
  };
}
