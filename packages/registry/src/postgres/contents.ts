/** All that is in a database, as of one moment. */

import {
  type ContentPage,
  isPortable,
  type RegistryContents,
  ROWS_PER_PAGE,
  TABLE_NAMES,
  type TableName,
  type TableRows,
} from '../contents.js';
import type { FormerAssignment } from '../model/node-assignments.js';
import { fromJson } from '../octets-json.js';
import type { MetadataName } from '../storage.js';
import { entryOctets } from './changes.js';
import type { DatabaseConnection } from './environment.js';
import { RowCaches } from './row-caches.js';
import { fetching, KeySet } from './snapshot.js';
import {
  CONTROLLERS,
  decodeRecentKeys,
  NODE_DESCRIPTIONS,
  NODES,
  ORDERS,
  RECENT_INITIAL_KEYS,
  RETIRED_INITIAL_KEYS,
  type SqlRow,
  type SqlTable,
} from './tables.js';

export const BEGIN_SNAPSHOT = { text: 'BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY' };

/** How the rows of a table are read, a page after the other in ascending order of key. */
interface Listing<T extends TableName> {
  readonly columns: string;
  readonly from: string;
  readonly where?: string;
  /** Columns of the key, and their values before the first row. */
  readonly keys: readonly (readonly [column: string, before: number | string])[];
  readonly decode: (row: SqlRow) => TableRows[T];
}

const id = [['id', -1]] as const;
const LISTINGS: { readonly [T in TableName]: Listing<T> } = {
  metadata: {
    columns: 'name, value',
    from: 'latchkey.metadata',
    keys: [['name', '']],
    decode: ({ name, value }) => [name as MetadataName, fromJson(value)],
  },
  controllers: listingOf(CONTROLLERS, 'id'),
  orders: listingOf(ORDERS, 'number'),
  nodes: listingOf(NODES, 'id'),
  nodeDescriptions: listingOf(NODE_DESCRIPTIONS, 'id'),
  recentInitialKeys: {
    columns: RECENT_INITIAL_KEYS.columnNames,
    from: RECENT_INITIAL_KEYS.name,
    keys: [['node', -1]],
    decode: (row) => [row['node'] as number, decodeRecentKeys(row)],
  },
  retiredInitialKeys: {
    columns: RETIRED_INITIAL_KEYS.columnNames,
    from: RETIRED_INITIAL_KEYS.name,
    keys: [['entry', -1], ...id],
    decode: (row) => [[row['entry'] as number, row['id'] as number], RETIRED_INITIAL_KEYS.decode(row)],
  },
  formerAssignments: {
    columns: 'node, controller, until_entry, tid',
    from: 'latchkey.former_assignments',
    keys: [
      ['node', -1],
      ['controller', -1],
    ],
    decode: (row) => [[row['node'] as number, row['controller'] as number], decodeFormer(row)],
  },
  nodeActivity: activity('latchkey.node_activity', 'NOT unknown'),
  unknownNodeActivity: activity('latchkey.node_activity', 'unknown'),
  controllerActivity: activity('latchkey.controller_activity'),
  entries: {
    columns: 'seq, hash, previous, body',
    from: 'latchkey.audit',
    keys: [['seq', -(2 ** 53 - 1)]],
    decode: (row) => [row['seq'] as number, entryOctets(row)],
  },
};

function listingOf<R extends object>(
  table: SqlTable<number, R>,
  key: string,
): { columns: string; from: string; keys: readonly [readonly [string, number]]; decode: (row: SqlRow) => readonly [number, R] } {
  return {
    columns: table.columnNames,
    from: table.name,
    keys: [[key, -1]],
    decode: (row) => [row[key] as number, table.decode(row)],
  };
}

function activity<T extends 'nodeActivity' | 'unknownNodeActivity' | 'controllerActivity'>(
  from: string,
  where?: string,
): Listing<T> {
  const decode = (row: SqlRow): TableRows[T] => [row['id'] as number, row['activity']] as TableRows[T];
  return { columns: 'id, activity', from, keys: id, decode, ...(where === undefined ? {} : { where }) };
}

export function decodeFormer({ until_entry: until, tid }: SqlRow): FormerAssignment {
  return { ...(until === null ? {} : { until: until as number }), ...(tid === null ? {} : { tid: tid as string }) };
}

/**
 * Reads in the transaction that is open on the connection, in which one moment is seen. `close`
 * ends it.
 */
export async function readContents(connection: DatabaseConnection, close: () => Promise<void>): Promise<RegistryContents> {
  const { statements, take } = fetching(new KeySet(), new RowCaches());
  const { registry, head } = take(await connection.run(...statements));
  return { start: registry.start, head, pages: pagesOf(connection), close };
}

async function* pagesOf(connection: DatabaseConnection): AsyncGenerator<ContentPage> {
  for (const table of TABLE_NAMES) {
    const { columns, from, where, keys, decode } = LISTINGS[table] as Listing<TableName>;
    const names = keys.map(([column]) => column);
    const places = names.map((_, i) => `$${i + 1}`).join(', ');
    const text = `SELECT ${columns} FROM ${from} WHERE (${names.join(', ')}) > (${places})${where === undefined ? '' : ` AND ${where}`}
      ORDER BY ${names.join(', ')} LIMIT ${ROWS_PER_PAGE}`;
    for (let after: readonly unknown[] = keys.map(([, before]) => before); ;) {
      const [page] = await connection.run({ name: `all of ${table}`, text, values: after });
      const found = page?.rows ?? [];
      const last = found.at(-1);
      const rows = found.map(decode).filter((row) => table !== 'metadata' || isPortable(row[0] as MetadataName));
      if (rows.length > 0) yield { table, rows } as unknown as ContentPage;
      if (last === undefined || found.length < ROWS_PER_PAGE) break;
      after = names.map((name) => last[name]);
    }
  }
}
