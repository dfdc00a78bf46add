/**
 * Copies a whole registry into a database, or out of one. Each copy is one transaction, so it
 * succeeds as a whole or changes nothing.
 */

import { Failure, UsageFailure } from '@latchkey/runtime/failure';
import { isoTime } from '@latchkey/runtime/iso-time';
import { type ChainHead, headOf } from '../audit-chain.js';
import type { ContentPage, RegistryContents } from '../contents.js';
import { toJson } from '../octets-json.js';
import { drawVersion, INSERT_ENTRIES, entryValues, PUT_FORMER, PUT_METADATA } from './changes.js';
import type { PostgresConfig } from './config.js';
import type { Connection, SqlResult } from './connection.js';
import { readContents } from './contents.js';
import { LastSeen, type Seen } from './last-seen.js';
import { describeLoss, fetchSeenEntry, lost, refuseOtherCluster, refuseOtherRegistry } from './loss.js';
import { HEARD_MS, PUT_CONTROLLER_ACTIVITY, PUT_NODE_ACTIVITY, SERVING } from './postgres-storage.js';
import { RowCaches } from './row-caches.js';
import { BEGIN, commit, makeSchema, readDatabaseTime, withPrimary } from './schema.js';
import { checkSchema, holdsNoRegistry } from './session.js';
import { fetching, KeySet } from './snapshot.js';
import {
  CONTROLLERS,
  encodeRecentKeys,
  NODE_DESCRIPTIONS,
  NODES,
  ORDERS,
  RECENT_INITIAL_KEYS,
  RETIRED_INITIAL_KEYS,
  type SqlTable,
} from './tables.js';

/** Of the whole transaction, in ms. */
const TIMEOUT_MS = 3_600_000;
const SET_START = 'UPDATE latchkey.registry SET audit_start_seq = $1, audit_start_hash = $2';
const HASH_LENGTH = 32;
/** Nobody reads or writes until the transaction ends. */
const LOCK_ALL = {
  text: `LOCK TABLE latchkey.registry, latchkey.orders, latchkey.nodes, latchkey.node_descriptions, latchkey.node_activity,
    latchkey.controller_activity IN ACCESS EXCLUSIVE MODE`,
};

/**
 * Copies a registry into a database that has none. Returns its identity there. If the database has
 * the last entry of these contents, an earlier copy ended before it could tell.
 *
 * @throws UsageFailure if the database holds another registry; then, and if the copy fails, nothing
 *   is changed
 */
export async function fillDatabase(config: PostgresConfig, contents: RegistryContents): Promise<Seen> {
  return withPrimary(
    config,
    async (connection, { made, system }) => {
      if (made === true) {
        const copied = await findCopied(connection, contents.head);
        if (copied === undefined) throw occupied(config, 'Choose another database.');
        // All of it is checked and counted, as when it is filled in.
        for await (const _ of contents.pages);
        return { ...copied, system: String(system) };
      }
      await connection.run(BEGIN);
      await makeSchema(connection, config);
      await fill(connection, contents);
      const [named] = await connection.run({ text: 'SELECT id, epoch FROM latchkey.registry' });
      await commit(connection, config);
      const { id, epoch } = identityIn(named);
      return { registry: id, system: String(system), epoch, head: headOf(contents.head) };
    },
    TIMEOUT_MS,
  );
}

/** What a copy of contents with this head would have returned, if there was one. */
async function findCopied(connection: Connection, head: ChainHead): Promise<Omit<Seen, 'system'> | undefined> {
  const [found] = await connection.run({
    text: 'SELECT id, epoch FROM latchkey.registry, latchkey.audit WHERE seq = $1 AND hash = $2',
    values: [head.seq, head.hash],
  });
  if (found?.rows.length !== 1) return undefined;
  const { id, epoch } = identityIn(found);
  return { registry: id, epoch, head: headOf(head) };
}

/**
 * Restores a backup into a database. A registry that is already there remains in another schema,
 * whose name is returned.
 *
 * @param folder of this machine, which from then on knows this registry
 * @param contents of the backup, converted for a restore at this time
 */
export async function restoreDatabase(
  config: PostgresConfig,
  folder: string,
  contents: (now: number) => RegistryContents,
  replace: boolean,
): Promise<string | undefined> {
  const lastSeen = await LastSeen.read(folder);
  return withPrimary(
    config,
    async (connection, { made, system }) => {
      if (made === true && !replace)
        throw occupied(config, 'Restore into another database, or put the registry there aside with --replace.');
      await connection.run(BEGIN);
      const before = made === true ? await putAside(connection, config, 'before') : undefined;
      await makeSchema(connection, config);
      const restored = contents(await readDatabaseTime(connection));
      await fill(connection, restored);
      // The same registry continues in another epoch, so that a server that still runs answers
      // nothing more.
      const [named] = await connection.run({
        text: 'UPDATE latchkey.registry SET id = coalesce($1::uuid, id), epoch = coalesce($2::integer + 1, epoch) RETURNING id, epoch',
        values: [before?.id ?? null, before?.epoch ?? null],
      });
      await commit(connection, config);
      const { id, epoch } = identityIn(named);
      await lastSeen.replace({ registry: id, system: String(system), epoch, head: headOf(restored.head) });
      return before?.schema;
    },
    TIMEOUT_MS,
  );
}

/**
 * Copies the registry out of a database from which no server runs. The database's registry remains
 * in another schema, whose name is returned. A registry that lost entries is refused, because a
 * folder would not show the loss.
 *
 * @param folder of this machine, which records what it has seen of the registry
 * @param take runs before that; if it fails, nothing is changed
 */
export async function takeOutOfDatabase(
  config: PostgresConfig,
  folder: string,
  take: (contents: RegistryContents) => Promise<void>,
): Promise<string> {
  const lastSeen = await LastSeen.read(folder);
  return withPrimary(
    config,
    async (connection, state) => {
      const { made, system } = state;
      if (made !== true) throw holdsNoRegistry(`database ${config.database}`, state);
      refuseOtherCluster(lastSeen.seen, String(system), `database ${config.database}`);
      await connection.run({ text: 'BEGIN ISOLATION LEVEL REPEATABLE READ' });
      const { schema } = await putAside(connection, config, 'copied', async () => {
        await refuseLoss(connection, config, lastSeen);
        await take(await readContents(connection, () => Promise.resolve()));
      });
      await commit(
        connection,
        config,
        `If schema ${schema} is in the database, the registry is there only. To go on with it: ALTER SCHEMA ${schema} RENAME TO latchkey`,
      );
      return schema;
    },
    TIMEOUT_MS,
  );
}

/** As a server that starts on it would. */
async function refuseLoss(connection: Connection, { database }: PostgresConfig, lastSeen: LastSeen): Promise<void> {
  const { seen } = lastSeen;
  const { statements, take } = fetching(new KeySet(), new RowCaches());
  const [hash, ...results] = await connection.run(fetchSeenEntry(seen), ...statements);
  const rows = take(results);
  const { registry } = rows;
  checkSchema(registry.schema, database);
  refuseOtherRegistry(lastSeen, registry.id, database);
  const missing = registry.lost ?? describeLoss(seen, rows, hash?.rows[0]?.['hash']);
  if (missing !== undefined) throw lost(missing);
}

interface PutAside {
  /** Name of its current schema. */
  readonly schema: string;
  readonly id: string;
  readonly epoch: number;
}

/** Inside a transaction. `work` runs while no other process reads or writes. */
async function putAside(
  connection: Connection,
  config: PostgresConfig,
  why: string,
  work: () => Promise<void> = () => Promise.resolve(),
): Promise<PutAside> {
  await connection.run(LOCK_ALL);
  const [serving, registry] = await connection.run({ text: SERVING }, { text: 'SELECT id, epoch FROM latchkey.registry' });
  const [server] = (serving?.rows ?? []) as readonly { readonly name: string }[];
  if (server !== undefined)
    throw new Failure(`auth-server ${server.name} serves from database ${config.database}`, {
      advice: `Nothing was changed. Stop every auth-server first: one that was killed counts for ${HEARD_MS / 1_000} s.`,
    });
  await work();
  const schema = `latchkey_${why}_${isoTime(await readDatabaseTime(connection)).replaceAll(/[^0-9]/g, '')}`;
  await connection.run({ text: `ALTER SCHEMA latchkey RENAME TO ${schema}` });
  return { schema, ...identityIn(registry) };
}

function identityIn(result: SqlResult | undefined): Omit<PutAside, 'schema'> {
  const [row = {}] = result?.rows ?? [];
  return { id: row['id'] as string, epoch: row['epoch'] as number };
}

function occupied({ database }: PostgresConfig, advice: string): UsageFailure {
  return new UsageFailure(`database ${database} holds a registry already`, { advice: `Nothing was changed. ${advice}` });
}

async function fill(connection: Connection, { start, pages }: RegistryContents): Promise<void> {
  await connection.run({ text: SET_START, values: [start.seq, start.hash] });
  // The database takes in a page while the next one is read and encoded.
  let written: Promise<void> = Promise.resolve();
  for await (const page of pages) {
    const before = written;
    written = putPage(connection, page);
    // The failure of the page before it is the one to tell.
    written.catch(() => undefined);
    await before;
  }
  await written;
}

async function putPage(connection: Connection, page: ContentPage): Promise<void> {
  switch (page.table) {
    case 'nodes':
      return put(connection, NODES, page.rows);
    case 'controllers':
      return put(connection, CONTROLLERS, page.rows);
    case 'orders':
      return put(connection, ORDERS, page.rows);
    case 'nodeDescriptions':
      return put(connection, NODE_DESCRIPTIONS, page.rows);
    case 'retiredInitialKeys':
      return put(connection, RETIRED_INITIAL_KEYS, page.rows);
    case 'recentInitialKeys':
      return put(
        connection,
        RECENT_INITIAL_KEYS,
        page.rows.map(([idI, keys]) => [idI, encodeRecentKeys(keys)] as const),
      );
    case 'formerAssignments':
      return putColumns(connection, PUT_FORMER, page.rows, [
        ([[idI]]) => idI,
        ([[, idC]]) => idC,
        ([, { until }]) => until ?? null,
        ([, { tid }]) => tid ?? null,
      ]);
    case 'nodeActivity':
    case 'unknownNodeActivity':
      return putColumns(connection, PUT_NODE_ACTIVITY, page.rows, [
        ([idI]) => idI,
        () => page.table === 'unknownNodeActivity',
        ([, row]) => JSON.stringify(row),
      ]);
    case 'controllerActivity':
      return putColumns(connection, PUT_CONTROLLER_ACTIVITY, page.rows, [([idC]) => idC, ([, row]) => JSON.stringify(row)]);
    case 'metadata':
      return putColumns(connection, PUT_METADATA, page.rows, [
        ([name]) => name,
        () => drawVersion(),
        ([, value]) => JSON.stringify(toJson(value)),
      ]);
    case 'entries': {
      const entries = page.rows.map(([seq, octets]) => ({ seq, at: timeOf(octets), octets }));
      await connection.run({ name: 'put entries', text: INSERT_ENTRIES, values: entryValues(entries) });
    }
  }
}

async function put<K, R>(
  connection: Connection,
  table: SqlTable<K, R>,
  rows: readonly (readonly [key: K, row: R])[],
): Promise<void> {
  await connection.run({ name: `fill ${table.name}`, text: table.upsert, values: table.upsertValues(rows, drawVersion) });
}

async function putColumns<T>(
  connection: Connection,
  text: string,
  rows: readonly T[],
  columns: readonly ((row: T) => unknown)[],
): Promise<void> {
  await connection.run({ text, values: columns.map((column) => rows.map((row) => column(row))) });
}

/** When an entry was written, ms since the epoch: it says so in its text. */
function timeOf(octets: Buffer): number {
  const { at } = JSON.parse(octets.toString('utf8', 2 * HASH_LENGTH)) as { readonly at: string };
  return Date.parse(at);
}
