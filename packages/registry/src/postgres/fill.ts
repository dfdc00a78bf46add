/** A registry from another engine, put into an empty database in one transaction. */

import { UsageFailure } from '@latchkey/runtime/failure';
import type { RegistryContents } from '../contents.js';
import { drawVersion, INSERT_ENTRIES, entryValues, PUT_FORMER, PUT_METADATA } from './changes.js';
import type { PostgresConfig } from './config.js';
import type { Connection } from './connection.js';
import { PUT_CONTROLLER_ACTIVITY, PUT_NODE_ACTIVITY } from './postgres-storage.js';
import { BEGIN, commit, makeSchema, withPrimary } from './schema.js';
import {
  CONTROLLERS,
  encodeRecentKeys,
  NODE_DESCRIPTIONS,
  NODES,
  ORDERS,
  RECENT_INITIAL_KEYS,
  RETIRED_INITIAL_KEYS,
  type SqlTable,
  toJson,
} from './tables.js';

const ROWS_PER_STATEMENT = 4_096;
/** Of the whole transaction, in ms. */
const TIMEOUT_MS = 3_600_000;
const SET_START = 'UPDATE latchkey.registry SET audit_start_seq = $1, audit_start_hash = $2';
const HASH_LENGTH = 32;

/**
 * @throws UsageFailure if the database holds a registry; then, and if it fails, nothing is changed
 */
export async function fillDatabase(config: PostgresConfig, contents: RegistryContents): Promise<void> {
  await withPrimary(
    config,
    async (connection, { made }) => {
      if (made === true)
        throw new UsageFailure(`database ${config.database} holds a registry already`, {
          advice: 'Nothing was changed. Choose another database.',
        });
      await connection.run(BEGIN);
      await makeSchema(connection);
      await fill(connection, contents);
      await commit(connection);
    },
    TIMEOUT_MS,
  );
}

async function fill(connection: Connection, contents: RegistryContents): Promise<void> {
  const { start, entries } = contents.chain;
  await connection.run({ text: SET_START, values: [start.seq, start.hash] });
  await put(connection, NODES, contents.nodes);
  await put(connection, CONTROLLERS, contents.controllers);
  await put(connection, ORDERS, contents.orders);
  await put(connection, NODE_DESCRIPTIONS, contents.nodeDescriptions);
  for (const page of pages(contents.recentInitialKeys))
    await put(
      connection,
      RECENT_INITIAL_KEYS,
      page.map(([idI, keys]) => [idI, encodeRecentKeys(keys)] as const),
    );
  await put(connection, RETIRED_INITIAL_KEYS, contents.retiredInitialKeys);
  for (const page of pages(contents.formerAssignments))
    await putColumns(connection, PUT_FORMER, page, [
      ([[idI]]) => idI,
      ([[, idC]]) => idC,
      ([, { until }]) => until ?? null,
      ([, { tid }]) => tid ?? null,
    ]);
  for (const page of pages(contents.nodeActivity))
    await putColumns(connection, PUT_NODE_ACTIVITY, page, [([idI]) => idI, () => false, ([, row]) => JSON.stringify(row)]);
  for (const page of pages(contents.controllerActivity))
    await putColumns(connection, PUT_CONTROLLER_ACTIVITY, page, [([idC]) => idC, ([, row]) => JSON.stringify(row)]);
  await putColumns(
    connection,
    PUT_METADATA,
    [...contents.metadata],
    [([name]) => name, () => drawVersion(), ([, value]) => JSON.stringify(toJson(value))],
  );
  for (const page of pages(entries as Iterable<readonly [number, Buffer]>)) {
    const chunk = page.map(([seq, octets]) => ({ seq, at: timeOf(octets), octets }));
    await connection.run({ name: 'put entries', text: INSERT_ENTRIES, values: entryValues(chunk) });
  }
}

async function put<K, R>(
  connection: Connection,
  table: SqlTable<K, R>,
  rows: Iterable<readonly [key: K, row: R]>,
): Promise<void> {
  for (const page of pages(rows))
    await connection.run({ name: `fill ${table.name}`, text: table.upsert, values: table.upsertValues(page, drawVersion) });
}

async function putColumns<T>(
  connection: Connection,
  text: string,
  rows: readonly T[],
  columns: readonly ((row: T) => unknown)[],
): Promise<void> {
  await connection.run({ text, values: columns.map((column) => rows.map((row) => column(row))) });
}

function* pages<T>(rows: Iterable<T>): Generator<T[]> {
  let page: T[] = [];
  for (const row of rows) {
    page.push(row);
    if (page.length < ROWS_PER_STATEMENT) continue;
    yield page;
    page = [];
  }
  if (page.length > 0) yield page;
}

/** When an entry was written, ms since the epoch: it says so in its text. */
function timeOf(octets: Buffer): number {
  const { at } = JSON.parse(octets.toString('utf8', 2 * HASH_LENGTH)) as { readonly at: string };
  return Date.parse(at);
}
