/**
 * Statements that fetch the rows for reads and writes, as few as possible, and their results. A
 * write that was decided changes the rows that the next write of its batch sees.
 */

import { type ChainHead, EMPTY_CHAIN } from '../audit-chain.js';
import type { RecentInitialKey } from '../model/recent-initial-keys.js';
import type { ControllerActivity, ControllerRow, NodeActivity, NodeDescription, NodeRow, OrderRow } from '../model/rows.js';
import type { Keys, MetadataName, Snapshot, Version, Versioned } from '../storage.js';
import { fromJson } from '../octets-json.js';
import type { SqlResult, Statement } from './connection.js';
import type { Box, Metadata, RowCaches } from './row-caches.js';
import { CONTROLLERS, decodeRecentKeys, NODE_DESCRIPTIONS, NODES, ORDERS, RECENT_INITIAL_KEYS, type SqlRow } from './tables.js';

/** A read or write of more nodes than this does not displace others in the cache. */
const MAX_NODES_TO_CACHE = 1_024;

/** The row of the registry itself. */
export interface RegistryRow {
  readonly id: string;
  readonly schema: number;
  readonly epoch: number;
  /** The loss that a server detected: no server serves until it is accepted. */
  readonly lost: string | undefined;
  /** Cursors of the key feed with another one start over. */
  readonly incarnation: number;
  readonly start: ChainHead;
}

/** The keys of several reads or writes. */
export class KeySet {
  readonly nodes: Set<number> = new Set<number>();
  readonly controllers: Set<number> = new Set<number>();
  readonly orders: Set<number> = new Set<number>();
  readonly nodeDescriptions: Set<number> = new Set<number>();
  readonly recentInitialKeys: Set<number> = new Set<number>();
  readonly nodeActivity: Set<number> = new Set<number>();
  readonly controllerActivity: Set<number> = new Set<number>();

  add(keys: Keys): void {
    for (const name of [
      'nodes',
      'controllers',
      'orders',
      'nodeDescriptions',
      'recentInitialKeys',
      'nodeActivity',
      'controllerActivity',
    ] as const)
      for (const key of keys[name] ?? []) this[name].add(key);
  }
}

const FETCH_REGISTRY = `SELECT r.id, r.schema, r.epoch, r.lost, r.metadata_version, r.key_feed_incarnation, r.audit_start_seq, r.audit_start_hash,
  a.seq, a.hash, a.at, (SELECT max(number) FROM latchkey.orders) AS last_order,
  (extract(epoch FROM clock_timestamp()) * 1000)::double precision AS now
  FROM latchkey.registry r LEFT JOIN LATERAL (SELECT seq, hash, at FROM latchkey.audit ORDER BY seq DESC LIMIT 1) a ON true`;
const FETCH_METADATA = `SELECT name, version, value FROM latchkey.metadata
  WHERE (SELECT metadata_version FROM latchkey.registry) <> $1`;
const FETCH_NODES = `SELECT ${NODES.columnNames} FROM latchkey.nodes WHERE id = ANY($1::bigint[])`;
const FETCH_CONTROLLERS = `SELECT ${CONTROLLERS.columnNames} FROM latchkey.controllers
  WHERE id IN (SELECT unnest($1::bigint[]) UNION SELECT controller FROM latchkey.nodes WHERE id = ANY($2::bigint[]))`;
const FETCH_ORDERS = `SELECT ${ORDERS.columnNames} FROM latchkey.orders
  WHERE number IN (SELECT unnest($1::bigint[]) UNION SELECT order_number FROM latchkey.nodes WHERE id = ANY($2::bigint[]))`;
const FETCH_DESCRIPTIONS = `SELECT ${NODE_DESCRIPTIONS.columnNames} FROM latchkey.node_descriptions WHERE id = ANY($1::bigint[])`;
const FETCH_RECENT_KEYS = `SELECT ${RECENT_INITIAL_KEYS.columnNames} FROM latchkey.recent_initial_keys WHERE node = ANY($1::bigint[])`;
/** Activity of an ID, as a node or as an unknown ID. */
const FETCH_NODE_ACTIVITY = `SELECT a.id, a.activity FROM latchkey.node_activity a
  WHERE a.id = ANY($1::bigint[]) AND a.unknown <> EXISTS (SELECT FROM latchkey.nodes n WHERE n.id = a.id)`;
const FETCH_CONTROLLER_ACTIVITY = 'SELECT id, activity FROM latchkey.controller_activity WHERE id = ANY($1::bigint[])';

/**
 * Returns statements that fetch the rows under these keys, and a function that reads their results.
 */
export function fetching(
  keys: KeySet,
  caches: RowCaches,
): { readonly statements: Statement[]; readonly take: (results: readonly SqlResult[]) => Rows } {
  const known = caches.metadata;
  const nodes = [...keys.nodes];
  const wanted: readonly ((Statement & { readonly take: (rows: Rows, found: readonly SqlRow[]) => void }) | undefined)[] = [
    { name: 'registry', text: FETCH_REGISTRY, take: takeRegistry },
    { name: 'metadata', text: FETCH_METADATA, values: [known.number], take: takeMetadata },
    fetchBy('nodes', FETCH_NODES, [nodes], (rows, record) => {
      const id = record['id'] as number;
      rows.nodes.set(id, caches.nodes.decode(id, record, nodes.length <= MAX_NODES_TO_CACHE));
    }),
    fetchBy('controllers', FETCH_CONTROLLERS, [[...keys.controllers], nodes], (rows, record) => {
      const id = record['id'] as number;
      rows.controllers.set(id, caches.controllers.decode(id, record, true));
    }),
    fetchBy('orders', FETCH_ORDERS, [[...keys.orders], nodes], (rows, record) => {
      const number = record['number'] as number;
      rows.orders.set(number, caches.orders.decode(number, record, true));
    }),
    fetchBy('node descriptions', FETCH_DESCRIPTIONS, [[...keys.nodeDescriptions]], (rows, record) =>
      rows.descriptions.set(record['id'] as number, NODE_DESCRIPTIONS.decode(record)),
    ),
    fetchBy('recent keys', FETCH_RECENT_KEYS, [[...keys.recentInitialKeys]], (rows, record) =>
      rows.recentKeys.set(record['node'] as number, decodeRecentKeys(record)),
    ),
    fetchBy('node activity', FETCH_NODE_ACTIVITY, [[...keys.nodeActivity]], (rows, record) =>
      rows.activityOfNodes.set(record['id'] as number, record['activity'] as NodeActivity),
    ),
    fetchBy('controller activity', FETCH_CONTROLLER_ACTIVITY, [[...keys.controllerActivity]], (rows, record) =>
      rows.activityOfControllers.set(record['id'] as number, record['activity'] as ControllerActivity),
    ),
  ];
  const statements = wanted.filter((one) => one !== undefined);
  return {
    statements,
    take(results) {
      const rows = new Rows(keys, known);
      for (const [i, { take }] of statements.entries()) take(rows, results[i]?.rows ?? []);
      rows.arrivedAt = results[0]?.at ?? 0;
      rows.complete();
      return rows;
    },
  };
}

/** `undefined` if there is no key to fetch by. */
function fetchBy(
  name: string,
  text: string,
  keys: readonly (readonly number[])[],
  take: (rows: Rows, record: SqlRow) => void,
): (Statement & { readonly take: (rows: Rows, found: readonly SqlRow[]) => void }) | undefined {
  if (keys.every(({ length }) => length === 0)) return undefined;
  return {
    name,
    text,
    values: keys,
    take: (rows, found) => {
      for (const record of found) take(rows, record);
    },
  };
}

function takeRegistry(rows: Rows, [record = {}]: readonly SqlRow[]): void {
  const start = { seq: record['audit_start_seq'] as number, hash: record['audit_start_hash'] as Buffer, at: 0 };
  rows.registry = {
    id: record['id'] as string,
    schema: record['schema'] as number,
    epoch: record['epoch'] as number,
    lost: (record['lost'] as string | null) ?? undefined,
    incarnation: record['key_feed_incarnation'] as number,
    start,
  };
  rows.head =
    record['seq'] === null ? start : { seq: record['seq'] as number, hash: record['hash'] as Buffer, at: record['at'] as number };
  rows.lastOrder = (record['last_order'] as number | null) ?? 0;
  rows.wallMs = record['now'] as number;
  rows.metadataNumber = record['metadata_version'] as number;
}

/** The statement returns no row if the known version is the latest. */
function takeMetadata(rows: Rows, found: readonly SqlRow[]): void {
  if (rows.metadataNumber === rows.known.number) return;
  const values = new Map<MetadataName, Box>();
  for (const record of found) {
    const [name, stamp] = [record['name'] as MetadataName, record['version'] as number];
    const before = rows.known.values.get(name);
    values.set(name, before?.stamp === stamp ? before : { stamp, value: fromJson(record['value']), version: {} });
  }
  rows.values = values;
}

/** A read or write of the batch accessed a key that it had not named. */
export class NotFetched extends RangeError {
  override readonly name = 'NotFetched';
  readonly keys: Keys;

  constructor(keys: Keys) {
    super(`${JSON.stringify(keys)} is not among the keys of this read or write`);
    this.keys = keys;
  }
}

export class Rows implements Snapshot {
  readonly nodes: Map<number, Versioned<NodeRow> | undefined> = new Map<number, Versioned<NodeRow> | undefined>();
  readonly controllers: Map<number, Versioned<ControllerRow> | undefined> = new Map<
    number,
    Versioned<ControllerRow> | undefined
  >();
  readonly orders: Map<number, Versioned<OrderRow> | undefined> = new Map<number, Versioned<OrderRow> | undefined>();
  readonly descriptions: Map<number, NodeDescription | undefined> = new Map<number, NodeDescription | undefined>();
  readonly recentKeys: Map<number, readonly RecentInitialKey[]> = new Map<number, readonly RecentInitialKey[]>();
  readonly activityOfNodes: Map<number, NodeActivity | undefined> = new Map<number, NodeActivity | undefined>();
  readonly activityOfControllers: Map<number, ControllerActivity | undefined> = new Map<number, ControllerActivity | undefined>();
  /** What was known before. */
  readonly known: Metadata;
  values: ReadonlyMap<MetadataName, Box>;
  metadataNumber: number;
  registry: RegistryRow = { id: '', schema: 0, epoch: 0, lost: undefined, incarnation: 0, start: EMPTY_CHAIN };
  head: ChainHead = EMPTY_CHAIN;
  lastOrder: number = 0;
  /** What the database's clock showed then, ms since the epoch: in a write once it had the lock. */
  wallMs: number = 0;
  /** When that was here, ms of `Environment.now`. */
  arrivedAt: number = 0;
  readonly #keys: KeySet;

  constructor(keys: KeySet, known: Metadata) {
    this.#keys = keys;
    this.known = known;
    this.values = known.values;
    this.metadataNumber = known.number;
  }

  /** A requested row that was not returned does not exist. */
  complete(): void {
    const { nodes, controllers, orders, nodeDescriptions, recentInitialKeys, nodeActivity, controllerActivity } = this.#keys;
    absent(this.nodes, nodes);
    absent(this.controllers, controllers);
    absent(this.orders, orders);
    absent(this.descriptions, nodeDescriptions);
    absent(this.activityOfNodes, nodeActivity);
    absent(this.activityOfControllers, controllerActivity);
    for (const key of recentInitialKeys) if (!this.recentKeys.has(key)) this.recentKeys.set(key, []);
    // They come with the node.
    for (const found of this.nodes.values()) {
      if (found === undefined) continue;
      absent(this.controllers, [found.row.controller]);
      absent(this.orders, [found.row.order]);
    }
  }

  /** All values of the registry, with their number. */
  get metadataNow(): Metadata {
    return { number: this.metadataNumber, values: this.values };
  }

  node(idI: number): Versioned<NodeRow> | undefined {
    if (!this.nodes.has(idI)) throw new NotFetched({ nodes: [idI] });
    return this.nodes.get(idI);
  }

  controller(idC: number): Versioned<ControllerRow> | undefined {
    if (!this.controllers.has(idC)) throw new NotFetched({ controllers: [idC] });
    return this.controllers.get(idC);
  }

  order(number: number): Versioned<OrderRow> | undefined {
    if (!this.orders.has(number)) throw new NotFetched({ orders: [number] });
    return this.orders.get(number);
  }

  nodeDescription(idI: number): NodeDescription | undefined {
    if (!this.descriptions.has(idI)) throw new NotFetched({ nodeDescriptions: [idI] });
    return this.descriptions.get(idI);
  }

  recentInitialKeys(idI: number): readonly RecentInitialKey[] {
    const keys = this.recentKeys.get(idI);
    if (keys === undefined) throw new NotFetched({ recentInitialKeys: [idI] });
    return keys;
  }

  nodeActivity(idI: number): NodeActivity | undefined {
    if (!this.activityOfNodes.has(idI)) throw new NotFetched({ nodeActivity: [idI] });
    return this.activityOfNodes.get(idI);
  }

  controllerActivity(idC: number): ControllerActivity | undefined {
    if (!this.activityOfControllers.has(idC)) throw new NotFetched({ controllerActivity: [idC] });
    return this.activityOfControllers.get(idC);
  }

  /** All of them are there, whichever were named. */
  metadata(name: MetadataName): unknown {
    return this.values.get(name)?.value;
  }

  metadataVersion(name: MetadataName): Version | undefined {
    return this.values.get(name)?.version;
  }
}

function absent<R>(rows: Map<number, R | undefined>, keys: Iterable<number>): void {
  for (const key of keys) if (!rows.has(key)) rows.set(key, undefined);
}
