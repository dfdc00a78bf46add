/** The registry in memory as the key feed reads it. */

import type { Keyring } from '@latchkey/keyring';
import type { WalkRow } from '../key-feed.js';
import type { AssignedNode, FormerAssignment } from '../model/node-assignments.js';
import type { NodeRow, OrderRow } from '../model/rows.js';
import type { FeedSource } from '../snapshot-key-feed.js';
import type { MemoryState, Step } from './memory-state.js';

interface Database {
  readonly state: MemoryState;
  apply(steps: readonly Step[]): void;
  draw(end: number): number;
}

export class MemoryFeedSource implements FeedSource {
  readonly keyring: Keyring;
  readonly #database: () => Database;

  /** @param database that the server sees. Throws Unavailable if it sees none. */
  constructor(database: () => Database, keyring: Keyring) {
    this.#database = database;
    this.keyring = keyring;
  }

  get #state(): MemoryState {
    return this.#database().state;
  }

  refreshSnapshot(): void {
    // An answer waits for nothing between two reads.
  }

  get incarnation(): number {
    return this.#state.incarnation;
  }

  get head(): number {
    return this.#state.head.seq;
  }

  auditEntry(seq: number): Buffer | undefined {
    return this.#state.get(seq);
  }

  node(idI: number): NodeRow | undefined {
    return this.#state.nodes.get(idI);
  }

  order(number: number): OrderRow | undefined {
    return this.#state.orders.get(number);
  }

  nodesOf(idC: number, from: number): Iterable<AssignedNode> {
    return this.#state.nodesOf(idC, from);
  }

  former(idI: number, idC: number): FormerAssignment | undefined {
    return this.#state.former(idI, idC);
  }

  walk(idC: number): WalkRow | undefined {
    return this.#state.walks.get(idC);
  }

  replaceWalk(
    idC: number,
    decide: (before: WalkRow | undefined, head: number) => WalkRow | undefined,
  ): Promise<WalkRow | undefined> {
    const database = this.#database();
    const before = this.walk(idC);
    const walk = decide(before, this.head);
    if (walk !== undefined && walk !== before) database.apply([({ walks }) => walks.set(idC, walk)]);
    return Promise.resolve(walk);
  }

  draw(end: number): number {
    return this.#database().draw(end);
  }
}
