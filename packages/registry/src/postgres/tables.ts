/** Rows as columns: how each column maps to a row, and the SQL for it. */

import { foldText } from '../model/node-query.js';
import type { RecentInitialKey } from '../model/recent-initial-keys.js';
import { fromJson, toBuffer, toJson } from '../octets-json.js';
import type {
  ControllerRow,
  NodeDescription,
  NodeRow,
  OrderRow,
  RetiredInitialKeyId,
  RetiredInitialKeyRow,
} from '../model/rows.js';

type ColumnType = 'bigint' | 'integer' | 'boolean' | 'text' | 'bytea' | 'jsonb';

/** A row as `pg` gives it. */
export type SqlRow = Readonly<Record<string, unknown>>;

interface Column<R> {
  readonly name: string;
  readonly type: ColumnType;
  readonly encode: (row: R) => unknown;
  /** Decodes the value of the column into `row`. */
  readonly decode: (value: unknown, row: Record<string, unknown>) => void;
}

/** Encodes a value for an array of values of its column. */
function encodeValue(type: ColumnType, value: unknown): unknown {
  if (value === undefined || value === null) return null;
  if (type === 'jsonb') return JSON.stringify(value);
  if (type === 'bytea') return toBuffer(value as Uint8Array);
  return value;
}

/** A column that holds one property. What is NULL is left out of the row. */
function property<R>(name: string, type: ColumnType, key: keyof R & string): Column<R> {
  return {
    name,
    type,
    encode: (row) => encodeValue(type, row[key]),
    decode: (value, row) => {
      if (value !== null) row[key] = value;
    },
  };
}

/** A property that is `true` or left out. */
function flag<R>(name: string, key: keyof R & string): Column<R> {
  return {
    name,
    type: 'boolean',
    encode: (row) => row[key] === true,
    decode: (value, row) => {
      if (value === true) row[key] = true;
    },
  };
}

/** A column that is made of the row, and only looked through in the database. */
function derived<R>(name: string, encode: (row: R) => string | null): Column<R> {
  return { name, type: 'text', encode, decode: () => undefined };
}

/** Texts as a search compares them, one after the other. */
function searched(texts: readonly (string | undefined)[]): string {
  return foldText(texts.filter((text) => text !== undefined).join('\n'));
}

/** A column that holds a property of an object in the row. */
function nested<R>(name: string, type: ColumnType, of: keyof R & string, key: string): Column<R> {
  return {
    name,
    type,
    encode: (row) => encodeValue(type, (row[of] as Record<string, unknown> | undefined)?.[key]),
    decode: (value, row) => {
      if (value === null) return;
      row[of] = { ...(row[of] as object | undefined), [key]: value };
    },
  };
}

/** A table with keys of type K, of one column or more, and rows of type R. */
export class SqlTable<K, R> {
  readonly name: string;
  readonly #keys: readonly string[];
  readonly #keyValues: (key: K) => readonly unknown[];
  readonly #columns: readonly Column<R>[];
  readonly #isVersioned: boolean;
  /** All columns but `version`, for SELECT. */
  readonly columnNames: string;
  /** Parameters: `upsertValues`. */
  readonly upsert: string;

  constructor(
    name: string,
    keys: readonly string[],
    keyValues: (key: K) => readonly unknown[],
    columns: readonly Column<R>[],
    { versioned = false, insertOnly = false }: { readonly versioned?: boolean; readonly insertOnly?: boolean } = {},
  ) {
    this.name = `latchkey.${name}`;
    this.#keys = keys;
    this.#keyValues = keyValues;
    this.#columns = columns;
    this.#isVersioned = versioned;
    const values = [...(versioned ? [{ name: 'version', type: 'bigint' }] : []), ...columns];
    this.columnNames = [...keys, ...values.map((column) => column.name)].join(', ');
    const types = [...keys.map(() => 'bigint'), ...values.map(({ type }) => type)];
    const arrays = types.map((type, i) => `$${i + 1}::${type}[]`).join(', ');
    const updates = values.map((column) => `${column.name} = EXCLUDED.${column.name}`).join(', ');
    const onConflict = insertOnly ? 'DO NOTHING' : `DO UPDATE SET ${updates}`;
    this.upsert = `INSERT INTO ${this.name} (${this.columnNames}) SELECT * FROM unnest(${arrays}) ON CONFLICT (${keys.join(', ')}) ${onConflict}`;
  }

  /** Only where no row is under the key; gives the keys of those that were inserted. */
  get insert(): string {
    return `${this.upsert.slice(0, this.upsert.indexOf(' ON CONFLICT'))} ON CONFLICT DO NOTHING RETURNING ${this.#keys.join(', ')}`;
  }

  /** `versionOf`: generates a version for each row, in a table with versions. */
  upsertValues(rows: readonly (readonly [key: K, row: R])[], versionOf?: () => number): unknown[][] {
    const arrays: unknown[][] = this.#keys.map((_, i) => rows.map(([key]) => this.#keyValues(key)[i]));
    if (this.#isVersioned) arrays.push(rows.map(() => versionOf?.() ?? 0));
    for (const { encode } of this.#columns) arrays.push(rows.map(([, row]) => encode(row)));
    return arrays;
  }

  decode(record: SqlRow): R {
    const row: Record<string, unknown> = {};
    for (const { name, decode } of this.#columns) decode(record[name], row);
    return row as R;
  }
}

const one = (key: number): readonly number[] => [key];

export const NODES: SqlTable<number, NodeRow> = new SqlTable(
  'nodes',
  ['id'],
  one,
  [
    property('key', 'bytea', 'key'),
    property('initial', 'boolean', 'initial'),
    property('ik', 'bytea', 'ik'),
    property('controller', 'bigint', 'controller'),
    property('order_number', 'bigint', 'order'),
    property('entry', 'bigint', 'entry'),
    flag('disabled', 'disabled'),
    property('lifetime', 'bigint', 'lifetime'),
    property('grace', 'bigint', 'grace'),
    property('joined_at', 'bigint', 'joinedAt'),
    property('reset_at', 'bigint', 'resetAt'),
    property('initial_key_issued_at', 'bigint', 'initialKeyIssuedAt'),
    property('reissued_at', 'bigint', 'reissuedAt'),
    property('seen_by', 'jsonb', 'seenBy'),
    flag('split', 'split'),
    property('half', 'bytea', 'half'),
    property('manufacturer', 'text', 'manufacturer'),
    nested<NodeRow>('committed_by', 'bigint', 'committed', 'idC'),
    nested<NodeRow>('committed_tid', 'text', 'committed', 'tid'),
    nested<NodeRow>('committed_ts', 'bigint', 'committed', 'ts'),
    nested<NodeRow>('committed_nid', 'bytea', 'committed', 'nidI'),
    nested<NodeRow>('committed_lifetime', 'bigint', 'committed', 'lifetime'),
    nested<NodeRow>('committed_at', 'bigint', 'committed', 'at'),
    property('assigned_entry', 'bigint', 'assignedEntry'),
    property('initial_key_entry', 'bigint', 'initialKeyEntry'),
    property('former_holders', 'jsonb', 'formerHolders'),
  ],
  { versioned: true },
);

export const CONTROLLERS: SqlTable<number, ControllerRow> = new SqlTable(
  'controllers',
  ['id'],
  one,
  [
    property('sk_cs', 'bytea', 'skCs'),
    property('staged_sk_cs', 'bytea', 'stagedSkCs'),
    nested<ControllerRow>('nid_host', 'text', 'nid', 'host'),
    nested<ControllerRow>('nid_port', 'integer', 'nid', 'port'),
    property('servers', 'jsonb', 'servers'),
    property('added_at', 'bigint', 'addedAt'),
    flag('pass_through', 'passThrough'),
    property('switched_at', 'bigint', 'switchedAt'),
    property('pass_through_entry', 'bigint', 'passThroughEntry'),
    property('assigning', 'bigint', 'assigning'),
    property('description', 'jsonb', 'description'),
  ],
  { versioned: true },
);

export const ORDERS: SqlTable<number, OrderRow> = new SqlTable(
  'orders',
  ['number'],
  one,
  [
    property('kind', 'text', 'kind'),
    property('state', 'text', 'state'),
    property('installer', 'text', 'installer'),
    property('contact', 'text', 'contact'),
    property('site', 'text', 'site'),
    derived<OrderRow>('site_searched', ({ site }) => (site === undefined ? null : searched([site]))),
    property('controller', 'bigint', 'idC'),
    property('count', 'integer', 'count'),
    property('shared_key', 'boolean', 'sharedKey'),
    property('manufacturer', 'text', 'manufacturer'),
    property('lifetime', 'bigint', 'lifetime'),
    property('grace', 'bigint', 'grace'),
    property('join_from', 'bigint', 'joinFrom'),
    property('join_until', 'bigint', 'joinUntil'),
    property('created_at', 'bigint', 'createdAt'),
    property('created_entry', 'bigint', 'createdEntry'),
    property('entry', 'bigint', 'entry'),
  ],
  { versioned: true },
);

export const NODE_DESCRIPTIONS: SqlTable<number, NodeDescription> = new SqlTable('node_descriptions', ['id'], one, [
  property('name', 'text', 'name'),
  property('site', 'text', 'site'),
  property('location', 'text', 'location'),
  property('tags', 'jsonb', 'tags'),
  property('note', 'text', 'note'),
  property('entry', 'bigint', 'entry'),
  derived<NodeDescription>('searched', ({ name, site, location, note, tags = [] }) =>
    searched([name, site, location, note, ...tags]),
  ),
]);

export const RETIRED_INITIAL_KEYS: SqlTable<RetiredInitialKeyId, RetiredInitialKeyRow> = new SqlTable(
  'retired_initial_keys',
  ['entry', 'id'],
  (id: RetiredInitialKeyId) => id,
  [
    property('node', 'bigint', 'node'),
    property('ik', 'bytea', 'ik'),
    property('order_number', 'bigint', 'order'),
    property('issued_at', 'bigint', 'issuedAt'),
    property('retired_at', 'bigint', 'retiredAt'),
    property('joined', 'boolean', 'joined'),
    property('manufacturer', 'text', 'manufacturer'),
    property('seen_by', 'jsonb', 'seenBy'),
    property('holders', 'jsonb', 'holders'),
    property('issue_entry', 'bigint', 'issueEntry'),
  ],
);

interface KeysRow {
  readonly keys: unknown;
}

export const RECENT_INITIAL_KEYS: SqlTable<number, KeysRow> = new SqlTable('recent_initial_keys', ['node'], one, [
  property<KeysRow>('keys', 'jsonb', 'keys'),
]);

export function encodeRecentKeys(keys: readonly RecentInitialKey[]): KeysRow {
  return { keys: toJson(keys) };
}

export function decodeRecentKeys({ keys }: SqlRow): readonly RecentInitialKey[] {
  return fromJson(keys) as readonly RecentInitialKey[];
}
