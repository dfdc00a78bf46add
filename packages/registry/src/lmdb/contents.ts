/** All that is in an LMDB store, and an empty store that takes it up. */

import type { Database, Key, RangeOptions, Transaction } from 'lmdb';
import {
  type ContentPage,
  isPortable,
  type RegistryContents,
  ROWS_PER_PAGE,
  TABLE_NAMES,
  type TableName,
  type TableRows,
} from '../contents.js';
import type { MetadataName } from '../storage.js';
import { METADATA_NAMES } from '../storage.js';
import type { Tables } from './tables.js';

type RowsAfter<T extends TableName> = (after: TableRows[T] | undefined, options: RangeOptions) => readonly TableRows[T][];

/**
 * Returns the contents of these tables in one snapshot. Writes during the read enlarge the file,
 * because LMDB keeps each page that the open snapshot may read.
 */
export function readContents(tables: Tables): RegistryContents {
  tables.refreshSnapshot();
  const transaction = tables.env.useReadTransaction();
  let isOpen = true;
  const close = async (): Promise<void> => {
    if (isOpen) transaction.done();
    isOpen = false;
  };
  const { start, head } = tables.audit.endsIn(transaction);
  return { start, head, pages: pagesOf(tables, transaction), close };
}

async function* pagesOf(tables: Tables, transaction: Transaction): AsyncGenerator<ContentPage> {
  const readers = readersOf(tables);
  for (const table of TABLE_NAMES) {
    const rowsAfter = readers[table] as RowsAfter<TableName>;
    for (let after: TableRows[TableName] | undefined; ;) {
      const rows = rowsAfter(after, { transaction, limit: ROWS_PER_PAGE });
      if (rows.length > 0) yield { table, rows } as ContentPage;
      if (rows.length < ROWS_PER_PAGE) break;
      after = rows.at(-1);
    }
  }
}

function readersOf(tables: Tables): { readonly [T in TableName]: RowsAfter<T> } {
  return {
    metadata: (after, options) =>
      rowsOf(tables.metadata as Database<unknown, MetadataName>, after, options).filter(
        ([name]) => METADATA_NAMES.includes(name) && isPortable(name),
      ),
    controllers: (after, options) => rowsOf(tables.controllers, after, options),
    orders: (after, options) => rowsOf(tables.orders, after, options),
    nodes: (after, options) => rowsOf(tables.nodes, after, options),
    nodeDescriptions: (after, options) => rowsOf(tables.nodeDescriptions, after, options),
    recentInitialKeys: (after, options) => rowsOf(tables.recentInitialKeys, after, options),
    retiredInitialKeys: (after, options) => tables.retiredInitialKeys.page(after?.[0], options),
    formerAssignments: (after, options) => tables.assignments.formerPage(after?.[0], options),
    nodeActivity: (after, options) => rowsOf(tables.nodeActivity, after, options),
    unknownNodeActivity: (after, options) => rowsOf(tables.unknownNodeActivity, after, options),
    controllerActivity: (after, options) => rowsOf(tables.controllerActivity, after, options),
    entries: (after, options) => tables.audit.page(after?.[0], options),
  };
}

function rowsOf<K extends Key, R>(
  table: Database<R, K>,
  after: readonly [K, unknown] | undefined,
  options: RangeOptions,
): (readonly [K, R])[] {
  const range = after === undefined ? options : { ...options, start: after[0], exclusiveStart: true };
  return Array.from(table.getRange(range), ({ key, value }) => [key, value] as const);
}

/**
 * Puts all of it into tables that are empty, a page in a transaction. Metadata come last: without
 * their schema, tables that are filled by half do not open.
 */
export async function fillTables(tables: Tables, { start, head, pages }: Omit<RegistryContents, 'close'>): Promise<void> {
  const metadata: ContentPage[] = [];
  for await (const page of pages) {
    if (page.table === 'metadata') metadata.push(page);
    else await tables.write(() => putPage(tables, page));
  }
  await tables.write(() => {
    for (const page of metadata) putPage(tables, page);
    tables.audit.putEnds(start, head);
    tables.assignments.drawIncarnation();
  });
}

/** Inside a write transaction. */
function putPage(tables: Tables, page: ContentPage): void {
  switch (page.table) {
    case 'nodes':
      for (const [idI, row] of page.rows) {
        tables.nodes.putSync(idI, row);
        tables.assignments.add(idI, row);
      }
      return;
    case 'retiredInitialKeys':
      for (const [id, row] of page.rows) tables.retiredInitialKeys.putSync(id, row);
      return;
    case 'formerAssignments':
      for (const [ids, former] of page.rows) tables.assignments.putFormer(ids, former);
      return;
    case 'entries':
      for (const [seq, octets] of page.rows) tables.audit.put(seq, octets);
      return;
    case 'metadata':
      for (const [name, value] of page.rows) tables.metadata.putSync(name, value);
      return;
    case 'recentInitialKeys':
      for (const [idI, keys] of page.rows) tables.recentInitialKeys.putSync(idI, keys);
      return;
    default: {
      const table = tables[page.table] as Database<unknown, number>;
      for (const [key, row] of page.rows) table.putSync(key, row);
    }
  }
}
