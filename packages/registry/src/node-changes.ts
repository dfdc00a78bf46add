/**
 * What one write does to nodes: gathered change by change, then handed over as data. Pure.
 */

import type { AuditEvent } from './audit-chain.js';
import { rememberInitialKey, type RecentInitialKey } from './model/recent-initial-keys.js';
import {
  type ControllerRow,
  type FormerHolders,
  keyHolders,
  manufacturerOf,
  type NodeDescription,
  type NodeRow,
  type RetiredInitialKeyId,
  type RetiredInitialKeyRow,
} from './model/rows.js';
import type { Decision } from './registry-core.js';
import type { Keys, Snapshot } from './storage.js';

/** A change to record of one node. */
type NodeEvent = Omit<AuditEvent, 'node' | 'previousEntry'>;

/** One write changes each node once, and its description once. */
export class NodeChanges {
  readonly #found: Snapshot;
  /** Time by the servers' clock. */
  readonly #at: number;
  readonly #events: AuditEvent[] = [];
  readonly #rows: (readonly [idI: number, row: NodeRow])[] = [];
  /** Entries by controller. */
  readonly #assigning = new Map<number, number>();
  readonly #removed: number[] = [];
  readonly #forgotten: number[] = [];
  readonly #descriptions: (readonly [idI: number, row: NodeDescription])[] = [];
  readonly #recentInitialKeys: (readonly [idI: number, keys: readonly RecentInitialKey[]])[] = [];
  readonly #retiredInitialKeys: (readonly [RetiredInitialKeyId, RetiredInitialKeyRow])[] = [];

  /**
   * @param found under the keys of `keysOf`
   * @param at the time by the servers' clock, ms since the epoch
   */
  constructor(found: Snapshot, at: number) {
    this.#found = found;
    this.#at = at;
  }

  /**
   * What a write of changes of these nodes has to see.
   *
   * @param controllers that nodes may be assigned to
   */
  static keysOf(ids: readonly number[], controllers: readonly number[]): Keys {
    return { nodes: ids, recentInitialKeys: ids, controllers, metadata: ['clock history'] };
  }

  /** How many changes there are: a node and its description change each on its own. */
  get count(): number {
    return this.#events.length;
  }

  /**
   * `after` replaces `before`, with the controllers that could have its key. An IK that is another
   * has none yet, and the one before is retired.
   */
  replace(idI: number, before: NodeRow, after: NodeRow, event: NodeEvent): void {
    const entry = this.#record(idI, before, event);
    if (after.controller !== before.controller) this.assign(after.controller, entry);
    if (Buffer.compare(after.ik, before.ik) !== 0) {
      this.#retire(idI, before, entry);
      const { formerHolders: _, ...row } = after;
      this.#rows.push([idI, { ...row, entry, assignedEntry: entry, initialKeyEntry: entry }]);
    } else if (after.controller === before.controller) this.#rows.push([idI, { ...after, entry }]);
    else this.#rows.push([idI, { ...after, entry, assignedEntry: entry, formerHolders: this.#holdersOf(before) }]);
  }

  /** Nodes are assigned to the controller with this entry: a removal of it counts them again. */
  assign(idC: number, entry: number): void {
    this.#assigning.set(idC, entry);
  }

  remove(idI: number, before: NodeRow, event: NodeEvent): void {
    this.#retire(idI, before, this.#record(idI, before, event));
    this.#removed.push(idI);
    this.forgetActivity(idI);
  }

  /**
   * Changes the description only. The row of the node stays as it is, so that a pending join
   * continues. The write must have fetched the description.
   */
  describe(idI: number, after: Omit<NodeDescription, 'entry'>, event: NodeEvent): void {
    const entry = this.#record(idI, { entry: this.#found.nodeDescription(idI)?.entry ?? 0 }, event);
    this.#descriptions.push([idI, { ...after, entry }]);
  }

  /** What was seen of the node does not count any more. */
  forgetActivity(idI: number): void {
    this.#forgotten.push(idI);
  }

  get outcome(): Required<Pick<Decision<unknown>, 'events' | 'put' | 'remove'>> {
    return {
      events: this.#events,
      put: {
        nodes: this.#rows,
        nodeDescriptions: this.#descriptions,
        controllers: this.#assignedControllers(),
        recentInitialKeys: this.#recentInitialKeys,
        retiredInitialKeys: this.#retiredInitialKeys,
      },
      remove: { nodes: this.#removed, nodeDescriptions: this.#removed, nodeActivity: this.#forgotten },
    };
  }

  #assignedControllers(): readonly (readonly [idC: number, row: ControllerRow])[] {
    const rows: (readonly [number, ControllerRow])[] = [];
    for (const [idC, assigning] of this.#assigning) {
      const row = this.#found.controller(idC)?.row;
      if (row !== undefined) rows.push([idC, { ...row, assigning }]);
    }
    return rows;
  }

  /** Gives the number of the entry. */
  #record(idI: number, { entry }: Pick<NodeRow, 'entry'>, event: NodeEvent): number {
    this.#events.push({ ...event, node: idI, ...(entry === 0 ? {} : { previousEntry: entry }) });
    return this.#found.head.seq + this.#events.length;
  }

  /**
   * Retires the IK of a node that is removed, or gets another IK. Its fingerprint remains, and for
   * some minutes the record that this ID had it.
   */
  #retire(idI: number, row: NodeRow, entry: number): void {
    this.#recentInitialKeys.push([idI, rememberInitialKey(this.#found.recentInitialKeys(idI), row.ik, this.#at)]);
    const { ik, order, initialKeyIssuedAt, initial, seenBy = [] } = row;
    const orderRow = this.#found.order(order)?.row;
    const manufacturer = manufacturerOf(row, orderRow);
    const retired: RetiredInitialKeyRow = {
      node: idI,
      ik,
      order,
      issuedAt: initialKeyIssuedAt ?? orderRow?.createdAt ?? 0,
      retiredAt: Date.now(),
      joined: !initial,
      seenBy,
      ...(manufacturer === undefined ? {} : { manufacturer }),
      holders: this.#holdersOf(row),
      issueEntry: row.initialKeyEntry ?? orderRow?.createdEntry ?? 0,
    };
    this.#retiredInitialKeys.push([[entry, idI], retired]);
  }

  #holdersOf({ formerHolders, controller, order, assignedEntry }: NodeRow): FormerHolders {
    const assigned = assignedEntry ?? this.#found.order(order)?.row.createdEntry ?? 0;
    return keyHolders(formerHolders, controller, assigned, this.#found.controller(controller)?.row ?? {});
  }
}
