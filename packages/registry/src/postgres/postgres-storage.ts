/**
 * The registry in PostgreSQL, for several auth-servers at once. Rows are locked only in the order
 * of writes. An acknowledged write is on a standby too.
 */

import { Failure } from '@latchkey/runtime/failure';
import type { Keyring } from '@latchkey/keyring';
import type { Clock } from '@latchkey/runtime/daemon';
import type { Metric } from '@latchkey/runtime/telemetry';
import type { AttributedEvent } from '../audit-chain.js';
import {
  type ActivityBatch,
  MAX_UNKNOWN_NODES,
  mergeControllerActivity,
  mergeNodeActivity,
  seenByActivity,
} from '../model/activity.js';
import type { ExpiryCounts, NodeCounts, NodeFilter, NodeGroups, NodeListPage, NodeListQuery } from '../model/node-query.js';
import type { RecentInitialKey } from '../model/recent-initial-keys.js';
import type {
  ControllerActivity,
  ControllerRow,
  NodeActivity,
  NodeDescription,
  NodeRow,
  OrderRow,
  RetiredInitialKeyId,
} from '../model/rows.js';
import type { RegistryContents } from '../contents.js';
import type { KeyFeed } from '../key-feed.js';
import { idTaken, noLongerPending } from '../registry-failures.js';
import type { Decide, Keys, MetadataName, Page, RegistryStorage, RetiredInitialKeyPage, Snapshot, Version } from '../storage.js';
import { ask, PostgresAssignments, PostgresAuditTable } from './audit-table.js';
import { drawVersion } from './changes.js';
import { BEGIN_SNAPSHOT, readContents } from './contents.js';
import { COMMIT, type Engine } from './engine.js';
import type { DatabaseConnection } from './environment.js';
import type { Heartbeat, WriteUnderLock } from './heartbeat.js';
import { PostgresKeyFeed } from './key-feed.js';
import { countExpiries, countNodes, listNodes } from './node-list.js';
import { asUnavailable, Reader } from './reader.js';
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
import { Writer } from './writer.js';

/**
 * A write has 8 s, in which its half here must take less than 2. 20,000 nodes took 3.5 s of CPU
 * time here, of which 0.9 s between the halves, and about as much in the database.
 */
const MAX_NODES_PER_WRITE = 8_192;
/** Rows removed in one transaction: long enough to be fast, short enough not to delay others. */
const ROWS_PER_TRANSACTION = 4_096;

const BEGIN = { text: 'BEGIN ISOLATION LEVEL READ COMMITTED' };
const ROLLBACK = { text: 'ROLLBACK' };
// An order that is shared-locked becomes neither open nor another one.
const SHARE_ORDER = 'SELECT state, version FROM latchkey.orders WHERE number = $1 FOR SHARE';
const PENDING = `SELECT ${ORDERS.columnNames} FROM latchkey.orders WHERE number = $1 AND state = 'pending'`;
const LOCK_PENDING = `${PENDING} FOR UPDATE`;
/** From here on nobody loads into it, for its version is another; and nobody publishes it. */
const MARK_UNLOADED = 'UPDATE latchkey.orders SET count = -1, version = $2 WHERE number = $1';
/** Another process may have unloaded the rest of it, and the number may be another order's. */
const LOCK_MARKED = `${PENDING} AND version = $2 FOR UPDATE`;
const UNLOAD = `WITH removed AS (DELETE FROM latchkey.nodes
    WHERE id IN (SELECT id FROM latchkey.nodes WHERE order_number = $1 LIMIT ${ROWS_PER_TRANSACTION}) RETURNING id),
  undescribed AS (DELETE FROM latchkey.node_descriptions d USING removed r WHERE d.id = r.id)
  SELECT id FROM removed`;
const OLD_ENTRIES = `WITH old AS (SELECT seq, hash FROM latchkey.audit WHERE seq <= $1 ORDER BY seq LIMIT $2)
  SELECT (SELECT count(*) FROM old)::integer AS count, (SELECT seq FROM old ORDER BY seq DESC LIMIT 1) AS last,
    (SELECT hash FROM old ORDER BY seq DESC LIMIT 1) AS hash, EXISTS (SELECT FROM latchkey.audit WHERE seq = $1) AS there`;
/** One server at a time merges activity. Lost activity is not recovered. */
const LOCK_ACTIVITY =
  "SELECT set_config('synchronous_commit', 'off', true), pg_advisory_xact_lock(hashtext('latchkey activity'))";
const LOCK_ENROLMENT = "SELECT pg_try_advisory_lock(hashtext('latchkey enrolment')) AS taken";
/** A server that was not heard of for this long does not run, in ms. */
export const HEARD_MS = 10_000;
export const SERVING: string = `SELECT name FROM latchkey.servers WHERE seen_at > extract(epoch FROM clock_timestamp()) * 1000 - ${HEARD_MS} LIMIT 1`;
export const PUT_NODE_ACTIVITY = `INSERT INTO latchkey.node_activity (id, unknown, activity)
  SELECT * FROM unnest($1::bigint[], $2::boolean[], $3::jsonb[]) ON CONFLICT (unknown, id) DO UPDATE SET activity = EXCLUDED.activity`;
export const PUT_CONTROLLER_ACTIVITY = `INSERT INTO latchkey.controller_activity (id, activity)
  SELECT * FROM unnest($1::bigint[], $2::jsonb[]) ON CONFLICT (id) DO UPDATE SET activity = EXCLUDED.activity`;

export class PostgresStorage implements RegistryStorage {
  readonly mayDoubt = true;
  readonly maxNodesPerWrite: number = MAX_NODES_PER_WRITE;
  readonly audit: PostgresAuditTable;
  readonly assignments: PostgresAssignments;
  readonly engine: Engine;
  readonly #reader: Reader;
  readonly #writer: Writer;
  #heartbeat: Heartbeat | undefined;

  constructor(engine: Engine) {
    this.engine = engine;
    this.#writer = new Writer(engine);
    this.#reader = new Reader(engine, () => this.#writer.holdLock());
    this.audit = new PostgresAuditTable(engine, this.#reader);
    this.assignments = new PostgresAssignments(engine);
  }

  /** The one clock of all servers of the registry: the database's. */
  get clock(): Clock {
    return this.engine.clock.read;
  }

  /** Why this process answers nothing. Returns `undefined` if no fault is known. */
  fault(): string | undefined {
    return this.engine.fault ?? this.#heartbeat?.fault;
  }

  /** Metrics of a server about its work with the database. */
  get metrics(): readonly Metric[] {
    const { metrics, config } = this.engine;
    return metrics.definitions(config.hosts, () => this.engine.connected?.place);
  }

  /** Ends with this storage. */
  set heartbeat(heartbeat: Heartbeat) {
    this.#heartbeat = heartbeat;
  }

  keyFeed(keyring: Keyring): KeyFeed {
    return new PostgresKeyFeed(this.engine, this.#reader, this.#writer, keyring);
  }

  /** Holds the lock of all writes for a moment: no write of before is still on its way then. */
  holdLock(): Promise<void> {
    return this.#writer.holdLock();
  }

  readonly writeUnderLock: WriteUnderLock = (asks, decide) =>
    this.#writer.write({ keys: {}, asks, decide: (_, answers) => decide(answers) });

  get metadata(): Pick<Snapshot, 'metadata' | 'metadataVersion'> {
    const { values } = this.engine.metadata;
    return {
      metadata: (name: MetadataName): unknown => values.get(name)?.value,
      metadataVersion: (name: MetadataName): Version | undefined => values.get(name)?.version,
    };
  }

  read(keys: Keys): Promise<Snapshot> {
    return this.#reader.read(keys);
  }

  write<T>(keys: Keys, decide: Decide<T>): Promise<T> {
    return this.#writer.write({
      keys,
      decide(rows, _, changes) {
        const outcome = decide(rows);
        changes.add(outcome);
        return { result: outcome.result };
      },
    });
  }

  load(
    order: number,
    keys: Keys,
    rowsOf: (found: Snapshot) => Page<NodeRow>,
    descriptions: Page<NodeDescription> = [],
  ): Promise<void> {
    return this.#transaction('nodes of an order', async (connection, caches) => {
      const keySet = new KeySet();
      keySet.add(keys);
      const { statements, take } = fetching(keySet, caches);
      const [, shared, ...results] = await connection.run(
        BEGIN,
        { name: 'share order', text: SHARE_ORDER, values: [order] },
        ...statements,
      );
      const [row] = shared?.rows ?? [];
      const known = this.#writer.pendingOrders.get(order);
      // Its number may have been given to another order since.
      if (row?.['state'] !== 'pending' || (known !== undefined && known !== row['version'])) throw noLongerPending(order);
      const found = take(results);
      this.engine.accept(found);
      const rows = rowsOf(found);
      const ids = new Set<number>();
      for (const [idI] of rows) if (ids.size === ids.add(idI).size) throw idTaken(idI);
      const values = NODES.upsertValues(rows, drawVersion);
      const put = {
        name: `put ${NODE_DESCRIPTIONS.name}`,
        text: NODE_DESCRIPTIONS.upsert,
        values: NODE_DESCRIPTIONS.upsertValues(descriptions),
      };
      const [inserted] = await connection.run(
        { name: 'insert nodes', text: NODES.insert, values },
        ...(descriptions.length === 0 ? [] : [put]),
      );
      if (inserted?.rows.length === rows.length) return;
      for (const { id } of (inserted?.rows ?? []) as readonly { readonly id: number }[]) ids.delete(id);
      throw idTaken([...ids][0] ?? 0);
    });
  }

  async unload(order: number, isMeant: (row: OrderRow) => boolean = () => true): Promise<void> {
    const mark = drawVersion();
    const isMarked = await this.#transaction('nodes of an order', async (connection) => {
      const [, found] = await connection.run(BEGIN, { text: LOCK_PENDING, values: [order] });
      const [row] = found?.rows ?? [];
      if (row === undefined || !isMeant(ORDERS.decode(row))) return false;
      await connection.run({ text: MARK_UNLOADED, values: [order, mark] });
      return true;
    });
    if (!isMarked) return;
    // A write that read the order before it was marked may publish it still: then it is open below.
    // The mark is not made under this lock, for a load that is stuck would hold up all writes.
    await this.#writer.holdLock();
    for (let areMore = true; areMore;) {
      areMore = await this.#transaction('nodes of an order', async (connection) => {
        const [, marked] = await connection.run(BEGIN, { text: LOCK_MARKED, values: [order, mark] });
        if (marked?.rows.length === 0) return false;
        const [removed] = await connection.run({ text: UNLOAD, values: [order] });
        if (removed?.rows.length === ROWS_PER_TRANSACTION) return true;
        await connection.run({ text: 'DELETE FROM latchkey.orders WHERE number = $1', values: [order] });
        return false;
      });
    }
  }

  async recordActivity(batch: ActivityBatch): Promise<void> {
    await this.#recordSeenBy(batch);
    await this.#transaction('what was seen', (connection) => this.#addActivity(connection, batch));
  }

  nodePage(from: number, limit: number): Promise<Page<NodeRow>> {
    return this.#page(NODES, 'id', from, limit);
  }

  controllerPage(from: number, limit: number): Promise<Page<ControllerRow>> {
    return this.#page(CONTROLLERS, 'id', from, limit);
  }

  orderPage(from: number, limit: number): Promise<Page<OrderRow>> {
    return this.#page(ORDERS, 'number', from, limit);
  }

  nodeDescriptionPage(from: number, limit: number): Promise<Page<NodeDescription>> {
    return this.#page(NODE_DESCRIPTIONS, 'id', from, limit);
  }

  nodeList(query: NodeListQuery): Promise<NodeListPage> {
    return listNodes(this.engine, query);
  }

  nodeCounts<G extends keyof NodeGroups>(filter: NodeFilter, now: number, by: G): Promise<NodeCounts<G>> {
    return countNodes(this.engine, filter, now, by);
  }

  nodeExpiries(filter: NodeFilter, now: number, edges: readonly number[]): Promise<ExpiryCounts> {
    return countExpiries(this.engine, filter, now, edges);
  }

  async recentInitialKeyPage(from: number, limit: number): Promise<Page<readonly RecentInitialKey[]>> {
    const rows = await this.#rowsFrom(RECENT_INITIAL_KEYS, 'node', from, limit);
    return rows.map((row) => [row['node'] as number, decodeRecentKeys(row)] as const);
  }

  async unknownNodePage(from: number, limit: number): Promise<Page<NodeActivity>> {
    const text = 'SELECT id, activity FROM latchkey.node_activity WHERE unknown AND id >= $1 ORDER BY id LIMIT $2';
    const rows = await ask(this.engine, { name: 'unknown nodes', text, values: [from, limit] });
    return rows.map((row) => [row['id'] as number, row['activity'] as NodeActivity] as const);
  }

  async retiredInitialKeyPage(after: RetiredInitialKeyId | undefined, limit: number): Promise<RetiredInitialKeyPage> {
    const text = `SELECT ${RETIRED_INITIAL_KEYS.columnNames} FROM latchkey.retired_initial_keys WHERE (entry, id) > ($1, $2) ORDER BY entry, id LIMIT $3`;
    const rows = await ask(this.engine, { name: 'retired', text, values: [...(after ?? [-1, -1]), limit] });
    return rows.map((row) => [[row['entry'] as number, row['id'] as number], RETIRED_INITIAL_KEYS.decode(row)] as const);
  }

  async isServed(): Promise<boolean> {
    return (await ask(this.engine, { name: 'serving', text: SERVING })).length > 0;
  }

  async nodeCount(): Promise<number> {
    const [row] = await ask(this.engine, { text: 'SELECT count(*)::bigint AS count FROM latchkey.nodes' });
    return row?.['count'] as number;
  }

  pruneAudit(last: number, limit: number, event?: AttributedEvent): Promise<number> {
    return this.#writer.write({
      keys: {},
      asks: [{ name: 'old entries', text: OLD_ENTRIES, values: [last, limit] }],
      decide(_, [answer], changes) {
        const {
          count,
          last: seq,
          hash,
          there,
        } = (answer?.rows[0] ?? {}) as { count: number; last: number | null; hash: Buffer | null; there: boolean };
        if (event !== undefined && !there) return { result: 0 };
        if (event !== undefined) changes.add({ result: undefined, events: [event] });
        if (seq === null) return { result: 0 };
        const statements = [
          { text: 'DELETE FROM latchkey.audit WHERE seq <= $1', values: [seq] },
          { text: 'UPDATE latchkey.registry SET audit_start_seq = $1, audit_start_hash = $2', values: [seq, hash] },
        ];
        return { result: count, statements };
      },
    });
  }

  /**
   * The lock ends with its connection. If the connection breaks, the next holder removes what is
   * pending.
   */
  async lockEnrolment(): Promise<{ release(): Promise<void> }> {
    try {
      const connection = await this.engine.separateConnection();
      const release = (): Promise<void> => connection.close();
      try {
        const [taken] = await connection.run({ text: LOCK_ENROLMENT });
        if (taken?.rows[0]?.['taken'] === true) return { release };
      } catch (error) {
        connection.destroy();
        throw error;
      }
      await release();
    } catch (error) {
      throw asUnavailable(error);
    }
    throw new Failure('another order or import is under way on this registry', {
      advice: 'Nothing was changed. Try again once it has ended.',
    });
  }

  async contents(): Promise<RegistryContents> {
    try {
      const connection = await this.engine.separateConnection();
      try {
        await connection.run(BEGIN_SNAPSHOT);
        const contents = await readContents(connection, () => connection.close());
        // What it sees may still wait for a standby: a read from here on comes after all of that.
        await this.read({});
        return contents;
      } catch (error) {
        connection.destroy();
        throw error;
      }
    } catch (error) {
      throw asUnavailable(error);
    }
  }

  maintain(): void {
    // The database cleans up by itself.
  }

  async close(): Promise<void> {
    await this.#heartbeat?.close();
    await this.engine.close();
  }

  async #transaction<T>(
    what: string,
    work: (connection: DatabaseConnection, caches: Parameters<typeof fetching>[1]) => Promise<T>,
  ): Promise<T> {
    try {
      const session = await this.engine.session();
      return await session.general(what, async (connection) => {
        try {
          const result = await work(connection, session.caches);
          const [commit] = await connection.run(COMMIT);
          if (commit?.command !== 'COMMIT') throw new Failure('the database rolled it back');
          return result;
        } catch (error) {
          await connection.send([ROLLBACK]);
          throw error;
        }
      });
    } catch (error) {
      throw asUnavailable(error);
    }
  }

  async #page<R>(table: SqlTable<number, R>, key: string, from: number, limit: number): Promise<Page<R>> {
    const rows = await this.#rowsFrom(table, key, from, limit);
    return rows.map((row) => [row[key] as number, table.decode(row)] as const);
  }

  #rowsFrom(
    table: Pick<SqlTable<number, unknown>, 'name' | 'columnNames'>,
    key: string,
    from: number,
    limit: number,
  ): Promise<readonly SqlRow[]> {
    const text = `SELECT ${table.columnNames} FROM ${table.name} WHERE ${key} >= $1 ORDER BY ${key} LIMIT $2`;
    return ask(this.engine, { name: `page ${table.name}`, text, values: [from, limit] });
  }

  /** Controllers that were given the IK of a node are in its row, which only a write changes. */
  async #recordSeenBy({ nodes }: ActivityBatch): Promise<void> {
    const given = nodes.filter(([, { keyGivenTo }]) => keyGivenTo !== undefined);
    if (given.length === 0) return;
    const ids = given.map(([idI]) => idI);
    const changed = (found: Snapshot): (readonly [number, NodeRow])[] =>
      given.flatMap(([idI, gathered]) => {
        const row = seenByActivity(found.node(idI)?.row, gathered);
        return row === undefined ? [] : [[idI, row] as const];
      });
    // Usually all are known already, and a read delays no other process.
    if (changed(await this.read({ nodes: ids })).length === 0) return;
    await this.write({ nodes: ids }, (found) => ({ result: undefined, put: { nodes: changed(found) } }));
  }

  async #addActivity(connection: DatabaseConnection, { nodes, controllers }: ActivityBatch): Promise<void> {
    const ids = nodes.map(([idI]) => idI);
    const [, , stored, rows, unknown, ofControllers] = await connection.run(
      BEGIN,
      { name: 'lock activity', text: LOCK_ACTIVITY },
      { text: 'SELECT id, unknown, activity FROM latchkey.node_activity WHERE id = ANY($1::bigint[])', values: [ids] },
      { text: `SELECT ${NODES.columnNames} FROM latchkey.nodes WHERE id = ANY($1::bigint[])`, values: [ids] },
      { text: 'SELECT count(*)::integer AS count FROM latchkey.node_activity WHERE unknown' },
      {
        text: 'SELECT id, activity FROM latchkey.controller_activity WHERE id = ANY($1::bigint[])',
        values: [controllers.map(([idC]) => idC)],
      },
    );
    const rowOf = new Map((rows?.rows ?? []).map((row) => [row['id'] as number, NODES.decode(row)]));
    const kept = { known: new Map<number, NodeActivity>(), unknown: new Map<number, NodeActivity>() };
    for (const row of stored?.rows ?? [])
      kept[row['unknown'] === true ? 'unknown' : 'known'].set(row['id'] as number, row['activity'] as NodeActivity);
    let strangers = (unknown?.rows[0]?.['count'] as number | undefined) ?? 0;
    const put: { readonly idI: number; readonly isUnknown: boolean; readonly activity: NodeActivity }[] = [];
    let clears = false;
    for (const [idI, gathered] of nodes) {
      const row = rowOf.get(idI);
      const isUnknown = row === undefined;
      const before = isUnknown ? kept.unknown : kept.known;
      if (isUnknown && !before.has(idI)) {
        if (strangers >= MAX_UNKNOWN_NODES) {
          // At the bound all of them go, those too that were to be put now.
          clears = true;
          strangers = 0;
          kept.unknown.clear();
          for (let i = put.length - 1; i >= 0; i--) if (put[i]?.isUnknown === true) put.splice(i, 1);
        }
        strangers += 1;
      }
      put.push({ idI, isUnknown, activity: mergeNodeActivity(before.get(idI), gathered, row) });
    }
    const seen = new Map((ofControllers?.rows ?? []).map((row) => [row['id'] as number, row['activity'] as ControllerActivity]));
    const merged = controllers.map(([idC, gathered]) => [idC, mergeControllerActivity(seen.get(idC), gathered)] as const);
    await connection.run(
      ...(clears ? [{ text: 'DELETE FROM latchkey.node_activity WHERE unknown' }] : []),
      {
        name: 'put node activity',
        text: PUT_NODE_ACTIVITY,
        values: [
          put.map(({ idI }) => idI),
          put.map(({ isUnknown }) => isUnknown),
          put.map(({ activity }) => JSON.stringify(activity)),
        ],
      },
      {
        name: 'put controller activity',
        text: PUT_CONTROLLER_ACTIVITY,
        values: [merged.map(([idC]) => idC), merged.map(([, activity]) => JSON.stringify(activity))],
      },
    );
  }
}
