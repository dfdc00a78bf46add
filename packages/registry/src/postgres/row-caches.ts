/** Rows that were read, decoded once, for as long as the database has them in the same version. */

import type { ControllerRow, NodeRow, OrderRow } from '../model/rows.js';
import type { MetadataName, Version, Versioned } from '../storage.js';
import { CONTROLLERS, NODES, ORDERS, type SqlRow, type SqlTable } from './tables.js';

/** Nodes kept decoded, from their M2 to their M7. */
const MAX_NODES = 1_024;
/** Orders, and controllers, kept decoded. */
const MAX_ROWS = 256;

interface Cached<R> {
  readonly stamp: number;
  readonly versioned: Versioned<R>;
}

/** At the bound the oldest is evicted. */
export class RowCache<R> {
  readonly #table: SqlTable<number, R>;
  readonly #bound: number;
  readonly #rows = new Map<number, Cached<R>>();

  constructor(table: SqlTable<number, R>, bound: number) {
    this.#table = table;
    this.#bound = bound;
  }

  /**
   * Returns the row of a record, from the cache or newly decoded. `keep`: caches it, because it
   * will be requested again soon.
   */
  decode(key: number, record: SqlRow, keep: boolean): Versioned<R> {
    const stamp = record['version'] as number;
    const known = this.#rows.get(key);
    if (known?.stamp === stamp) return known.versioned;
    const versioned: Versioned<R> = { row: this.#table.decode(record), version: {} };
    if (known !== undefined) this.#rows.delete(key);
    if (!keep) return versioned;
    if (this.#rows.size >= this.#bound) {
      const [oldest] = this.#rows.keys();
      if (oldest !== undefined) this.#rows.delete(oldest);
    }
    this.#rows.set(key, { stamp, versioned });
    return versioned;
  }

  clear(): void {
    this.#rows.clear();
  }
}

/** A value of the registry. The box is its version. */
export interface Box {
  readonly stamp: number;
  readonly value: unknown;
  readonly version: Version;
}

/** All values of the registry, as they were with this number. */
export interface Metadata {
  readonly number: number;
  readonly values: ReadonlyMap<MetadataName, Box>;
}

export class RowCaches {
  readonly nodes: RowCache<NodeRow> = new RowCache<NodeRow>(NODES, MAX_NODES);
  readonly controllers: RowCache<ControllerRow> = new RowCache<ControllerRow>(CONTROLLERS, MAX_ROWS);
  readonly orders: RowCache<OrderRow> = new RowCache<OrderRow>(ORDERS, MAX_ROWS);
  /** The latest that was read or written. */
  metadata: Metadata = { number: 0, values: new Map() };

  clear(): void {
    this.nodes.clear();
    this.controllers.clear();
    this.orders.clear();
  }
}
