/** The registry in LMDB as the key feed reads it. */

import { randomInt } from 'node:crypto';
import type { Keyring } from '@latchkey/keyring';
import type { WalkRow } from '../key-feed.js';
import type { AssignedNode, FormerAssignment } from '../model/node-assignments.js';
import type { NodeRow, OrderRow } from '../model/rows.js';
import type { FeedSource } from '../snapshot-key-feed.js';
import { RowCache } from './row-cache.js';
import type { Tables } from './tables.js';

/** Cached decoded orders: most nodes in the feed belong to the same few orders. */
const MAX_CACHED_ORDERS = 256;

export class LmdbFeedSource implements FeedSource {
  readonly #tables: Tables;
  readonly #orders: RowCache<OrderRow>;

  constructor(tables: Tables) {
    this.#tables = tables;
    this.#orders = new RowCache(tables.orders, MAX_CACHED_ORDERS);
  }

  get keyring(): Keyring {
    return this.#tables.keyring;
  }

  refreshSnapshot(): void {
    this.#tables.refreshSnapshot();
  }

  get incarnation(): number {
    return this.#tables.assignments.incarnation;
  }

  get head(): number {
    return this.#tables.audit.head.seq;
  }

  auditEntry(seq: number): Buffer | undefined {
    return this.#tables.audit.get(seq);
  }

  node(idI: number): NodeRow | undefined {
    return this.#tables.nodes.get(idI);
  }

  order(number: number): OrderRow | undefined {
    return this.#orders.get(number)?.row;
  }

  nodesOf(idC: number, from: number): Iterable<AssignedNode> {
    return this.#tables.assignments.nodesOf(idC, from);
  }

  former(idI: number, idC: number): FormerAssignment | undefined {
    return this.#tables.assignments.former(idI, idC);
  }

  walk(idC: number): WalkRow | undefined {
    return this.#tables.assignments.walks.get(idC);
  }

  async replaceWalk(
    idC: number,
    decide: (before: WalkRow | undefined, head: number) => WalkRow | undefined,
  ): Promise<WalkRow | undefined> {
    const { assignments, audit } = this.#tables;
    return this.#tables.write(() => {
      const before = assignments.walks.get(idC);
      const walk = decide(before, audit.head.seq);
      if (walk !== undefined && walk !== before) assignments.walks.putSync(idC, walk);
      return walk;
    });
  }

  draw(end: number): number {
    return randomInt(end);
  }
}
