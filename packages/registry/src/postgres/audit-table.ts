/** The audit log in PostgreSQL, as commands and the API read it. */

import type { ChainHead, StoredChain } from '../audit-chain.js';
import type { AuditTable, Entry } from '../audit-log.js';
import type { AssignedNode, AssignmentTable, FormerAssignment } from '../model/node-assignments.js';
import { entryOctets } from './changes.js';
import { decodeFormer } from './contents.js';
import type { Statement } from './connection.js';
import type { Engine } from './engine.js';
import { asUnavailable, type Reader } from './reader.js';
import { RowCaches } from './row-caches.js';
import { fetching, KeySet } from './snapshot.js';
import type { SqlRow } from './tables.js';

const PAGE_SIZE = 1_024;
const ASCENDING = 'SELECT seq, hash, previous, body FROM latchkey.audit WHERE seq >= $1 ORDER BY seq LIMIT $2';
const DESCENDING = 'SELECT seq, hash, previous, body FROM latchkey.audit WHERE seq <= $1 ORDER BY seq DESC LIMIT $2';
/** All of a table, a page after the other, in the order of its key. */
const LAST_PLACE = 2 ** 53 - 1;

/** A plain statement on the third connection. */
export async function ask(engine: Engine, statement: Statement): Promise<readonly SqlRow[]> {
  try {
    const session = await engine.session();
    const [result] = await session.general('a statement', (connection) => connection.run(statement));
    return result?.rows ?? [];
  } catch (error) {
    throw asUnavailable(error);
  }
}

/** Its ends are read behind a barrier: a HEAD that was saved elsewhere is lost in no failover. */
export class PostgresAuditTable implements AuditTable {
  readonly #engine: Engine;
  readonly #reader: Reader;

  constructor(engine: Engine, reader: Reader) {
    this.#engine = engine;
    this.#reader = reader;
  }

  get start(): Promise<ChainHead> {
    return this.#reader.read({}).then(({ registry }) => registry.start);
  }

  get head(): Promise<ChainHead> {
    return this.#reader.read({}).then(({ head }) => head);
  }

  /** The chain has no gaps: a count would go through all of it. */
  get length(): Promise<number> {
    return this.#reader.read({}).then(({ registry, head }) => head.seq - registry.start.seq);
  }

  async get(seq: number): Promise<Buffer | undefined> {
    const [row] = await ask(this.#engine, {
      name: 'entry',
      text: 'SELECT hash, previous, body FROM latchkey.audit WHERE seq = $1',
      values: [seq],
    });
    return row && entryOctets(row);
  }

  async *ascending(from: number): AsyncGenerator<Entry> {
    for (let next = from; ;) {
      const page = await ask(this.#engine, { name: 'entries after', text: ASCENDING, values: [next, PAGE_SIZE] });
      for (const row of page) yield toEntry(row);
      if (page.length < PAGE_SIZE) return;
      next = (page.at(-1)?.['seq'] as number) + 1;
    }
  }

  async *descending(from: number = LAST_PLACE): AsyncGenerator<Entry> {
    for (let next = from; ;) {
      const page = await ask(this.#engine, { name: 'entries before', text: DESCENDING, values: [next, PAGE_SIZE] });
      for (const row of page) yield toEntry(row);
      if (page.length < PAGE_SIZE) return;
      next = (page.at(-1)?.['seq'] as number) - 1;
    }
  }

  /** Reads the whole chain in one snapshot, over a separate connection. */
  async chain(): Promise<StoredChain> {
    const connection = await this.#engine.separateConnection();
    const { statements, take } = fetching(new KeySet(), new RowCaches());
    const begin = { text: 'BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY' };
    try {
      const [, ...results] = await connection.run(begin, ...statements);
      const { registry, head } = take(results);
      // What it sees may still wait for a standby: a read from here on comes after all of that.
      await this.#reader.read({});
      return { start: registry.start, head, entries: pages() };
    } catch (error) {
      connection.destroy();
      throw asUnavailable(error);
    }

    async function* pages(): AsyncGenerator<Entry> {
      try {
        for (let next = -LAST_PLACE; ;) {
          const [page] = await connection.run({ name: 'entries after', text: ASCENDING, values: [next, PAGE_SIZE] });
          if (page === undefined) return;
          for (const row of page.rows) yield toEntry(row);
          if (page.rows.length < PAGE_SIZE) return;
          next = (page.rows.at(-1)?.['seq'] as number) + 1;
        }
      } finally {
        await connection.close();
      }
    }
  }
}

function toEntry(row: SqlRow): Entry {
  return [row['seq'] as number, entryOctets(row)];
}

/** Which nodes each controller has, by an index of the nodes; and had, in a table. */
export class PostgresAssignments implements AssignmentTable {
  readonly #engine: Engine;

  constructor(engine: Engine) {
    this.#engine = engine;
  }

  async *nodesOf(idC: number, from: number = 0): AsyncGenerator<AssignedNode> {
    const text = 'SELECT id, order_number FROM latchkey.nodes WHERE controller = $1 AND id >= $2 ORDER BY id LIMIT $3';
    for (let next = from; ;) {
      const page = await ask(this.#engine, { name: 'nodes of', text, values: [idC, next, PAGE_SIZE] });
      for (const row of page) yield { idI: row['id'] as number, order: row['order_number'] as number };
      if (page.length < PAGE_SIZE) return;
      next = (page.at(-1)?.['id'] as number) + 1;
    }
  }

  async former(idI: number, idC: number): Promise<FormerAssignment | undefined> {
    const text = 'SELECT until_entry, tid FROM latchkey.former_assignments WHERE node = $1 AND controller = $2';
    const [row] = await ask(this.#engine, { name: 'former', text, values: [idI, idC] });
    if (row === undefined) return undefined;
    return decodeFormer(row);
  }
}
