/** The tables of a registry as a simulated PostgreSQL has them, at one moment. */

import type { SqlRow } from '@latchkey/registry/postgres/simulation';

export type TableName =
  | 'registry'
  | 'audit'
  | 'metadata'
  | 'controllers'
  | 'orders'
  | 'nodes'
  | 'node_descriptions'
  | 'former_assignments'
  | 'key_feed_walks'
  | 'recent_initial_keys'
  | 'retired_initial_keys'
  | 'node_activity'
  | 'controller_activity'
  | 'servers';

/** A row that a transaction writes, or removes if `row` is `undefined`. */
export interface Change {
  readonly table: TableName;
  readonly key: string;
  readonly row: SqlRow | undefined;
}

/** Rows by key. A table is never changed: a commit makes another one. */
type Table = ReadonlyMap<string, SqlRow>;

const EMPTY: Table = new Map();

/** The audit log only grows at its end: versions of it share one array. */
interface Log {
  readonly rows: SqlRow[];
  readonly length: number;
}

export class Tables {
  readonly #tables: ReadonlyMap<TableName, Table>;
  readonly #log: Log;

  constructor(tables: ReadonlyMap<TableName, Table> = new Map(), log: Log = { rows: [], length: 0 }) {
    this.#tables = tables;
    this.#log = log;
  }

  get(table: Exclude<TableName, 'audit'>, key: string): SqlRow | undefined {
    return this.#tables.get(table)?.get(key);
  }

  rows(table: Exclude<TableName, 'audit'>): readonly SqlRow[] {
    return [...(this.#tables.get(table) ?? EMPTY).values()];
  }

  /** `undefined` if the log does not go so far. */
  entry(seq: number): SqlRow | undefined {
    return seq <= this.#log.length ? this.#log.rows[seq - 1] : undefined;
  }

  /** At most `limit` entries from `from` on. */
  entries(from: number, limit: number): readonly SqlRow[] {
    return this.#log.rows.slice(Math.max(0, from - 1), Math.min(this.#log.length, from - 1 + limit));
  }

  get lastEntry(): SqlRow | undefined {
    return this.entry(this.#log.length);
  }

  with(changes: readonly Change[]): Tables {
    if (changes.length === 0) return this;
    const tables = new Map(this.#tables);
    const copied = new Map<TableName, Map<string, SqlRow>>();
    let log = this.#log;
    for (const { table, key, row } of changes) {
      if (table === 'audit') {
        if (row !== undefined) log = appended(log, row);
        continue;
      }
      let copy = copied.get(table);
      if (copy === undefined) {
        copy = new Map(tables.get(table));
        copied.set(table, copy);
        tables.set(table, copy);
      }
      if (row === undefined) copy.delete(key);
      else copy.set(key, row);
    }
    return new Tables(tables, log);
  }
}

/** A log that has gone on otherwise since is copied up to here. */
function appended({ rows, length }: Log, row: SqlRow): Log {
  const own = rows.length === length ? rows : rows.slice(0, length);
  own.push(row);
  return { rows: own, length: length + 1 };
}
