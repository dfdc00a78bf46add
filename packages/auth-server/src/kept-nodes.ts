/**
 * Nodes that were looked up for an M2, with their keys open, until their M7 comes: to open a key takes as long as all else that a look-up does.
 * What is kept is good as long as the store has the same octets for the node. Nothing depends on it: a replica that never saw the M2 opens the row.
 */

import type { Secret } from '@latchkey/protocol';
import { BoxedMap } from '@latchkey/runtime';
import type { NodeRow } from './rows.js';

/** At the bound the oldest goes. */
const MAX_KEPT = 1_024;
/** An M7 that comes later than this after its M2 is one of a slow node, in ms. */
const KEPT_FOR_MS = 5_000;

/** A node's row as it stands in the store, decoded, and its key. */
export interface OpenedRow {
  readonly octets: Buffer;
  readonly row: NodeRow;
  readonly key: Secret;
}

interface Kept extends OpenedRow {
  readonly since: number;
}

export class KeptNodes {
  readonly #kept = new BoxedMap<number, Kept>();
  #sweep: NodeJS.Timeout | undefined;

  /** Keeps a copy of the key. */
  keep(idI: number, { octets, row, key }: OpenedRow): void {
    this.drop(idI);
    if (this.#kept.size >= MAX_KEPT) {
      const [oldest] = this.#kept.keys();
      if (oldest !== undefined) this.drop(oldest);
    }
    this.#kept.set(idI, { octets, row, key: key.copy(), since: performance.now() });
    this.#sweep ??= setInterval(() => this.#dropOld(), KEPT_FOR_MS).unref();
  }

  /** What was kept, once: the key is the caller's from here on. `undefined` unless its octets are what the store has. */
  take(idI: number, isStored: (octets: Buffer) => boolean): OpenedRow | undefined {
    const kept = this.#kept.get(idI);
    if (kept === undefined) return undefined;
    this.#kept.delete(idI);
    if (isStored(kept.octets)) return kept;
    kept.key.wipe();
    return undefined;
  }

  drop(idI: number): void {
    this.#kept.get(idI)?.key.wipe();
    this.#kept.delete(idI);
  }

  close(): void {
    clearInterval(this.#sweep);
    for (const { key } of this.#kept.values()) key.wipe();
    this.#kept.clear();
  }

  #dropOld(): void {
    const now = performance.now();
    for (const [idI, { since }] of this.#kept) if (now - since >= KEPT_FOR_MS) this.drop(idI);
    if (this.#kept.size > 0) return;
    clearInterval(this.#sweep);
    this.#sweep = undefined;
  }
}
