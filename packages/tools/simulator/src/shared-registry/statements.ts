/**
 * The simulated PostgreSQL's implementation of the statements that the engine sends for a server
 * and for an administrator's commands. An unknown statement is an error, so no change of the engine
 * is missed.
 */

import { DatabaseFailure, type SqlRow, type Statement } from '@latchkey/registry/postgres/simulation';
import type { Change, TableName, Tables } from './tables.js';

/** The transaction that a statement runs in. */
export interface StatementContext {
  /** What it sees, with what it has changed. */
  readonly tables: Tables;
  /** By the database's clock, ms since the epoch. */
  readonly now: number;
  readonly change: (changes: readonly Change[]) => void;
  /** Its commit writes to the log, and so waits for a standby. */
  readonly emit: () => void;
  /** Its commit does not wait for a standby. */
  readonly relax: () => void;
}

type Execute = (context: StatementContext, values: readonly unknown[], text: string) => readonly SqlRow[];

const numbers = (value: unknown): readonly number[] => value as readonly number[];
const present = (rows: readonly (SqlRow | undefined)[]): readonly SqlRow[] => rows.filter((row) => row !== undefined);
const byId = (table: Exclude<TableName, 'audit'>): Execute => {
  return ({ tables }, [ids]) => present(numbers(ids).map((id) => tables.get(table, String(id))));
};

function nodesAmong({ tables }: StatementContext, ids: unknown): readonly SqlRow[] {
  return present(numbers(ids).map((id) => tables.get('nodes', String(id))));
}

/** Rows that are named, and those that the nodes belong to. */
const alsoOfNodes = (table: 'controllers' | 'orders', column: string): Execute => {
  return (context, [ids, nodes]) => {
    const wanted = new Set([...numbers(ids), ...nodesAmong(context, nodes).map((row) => row[column] as number)]);
    return present([...wanted].map((id) => context.tables.get(table, String(id))));
  };
};

const activityKey = (isUnknown: unknown, id: unknown): string => `${String(isUnknown)} ${String(id)}`;

function fetchRegistry({ tables, now }: StatementContext): readonly SqlRow[] {
  const last = tables.lastEntry;
  const orders = tables.rows('orders').map((row) => row['number'] as number);
  return [
    {
      ...tables.get('registry', 'one'),
      seq: last?.['seq'] ?? null,
      hash: last?.['hash'] ?? null,
      at: last?.['at'] ?? null,
      last_order: orders.length === 0 ? null : Math.max(...orders),
      now,
    },
  ];
}

function changeRegistry({ tables, change }: StatementContext, changed: SqlRow): readonly SqlRow[] {
  change([{ table: 'registry', key: 'one', row: { ...tables.get('registry', 'one'), ...changed } }]);
  return [];
}

/** Statements with a name. */
const NAMED: Readonly<Record<string, Execute>> = {
  barrier: (context) => {
    context.emit();
    return [{ emitted: true, now: context.now }];
  },
  /** A mutant's, in place of a barrier. */
  plain: ({ now }) => [{ emitted: false, now }],
  registry: fetchRegistry,
  metadata: ({ tables }, [known]) =>
    tables.get('registry', 'one')?.['metadata_version'] === known ? [] : tables.rows('metadata'),
  nodes: byId('nodes'),
  controllers: alsoOfNodes('controllers', 'controller'),
  orders: alsoOfNodes('orders', 'order_number'),
  'node descriptions': byId('node_descriptions'),
  'recent keys': byId('recent_initial_keys'),
  'node activity': ({ tables }, [ids]) =>
    present(
      numbers(ids).map((id) => tables.get('node_activity', activityKey(tables.get('nodes', String(id)) === undefined, id))),
    ),
  'controller activity': byId('controller_activity'),
  'put former': ({ tables, change }, values) => {
    const [nodes = [], controllers = [], entries = [], tids = []] = values as readonly (readonly unknown[])[];
    change(
      nodes.map((node, i) => {
        const key = `${String(node)} ${String(controllers[i])}`;
        const before = tables.get('former_assignments', key);
        const row = {
          node,
          controller: controllers[i],
          until_entry: entries[i] ?? before?.['until_entry'] ?? null,
          tid: tids[i] ?? before?.['tid'] ?? null,
        };
        return { table: 'former_assignments', key, row };
      }),
    );
    return [];
  },
  'count metadata': (context, [version]) => changeRegistry(context, { metadata_version: version }),
  tell: ({ tables, change }, [id, name, version, from, to, at, monotonic]) => {
    const before = tables.get('servers', String(id));
    const row = before ?? { id, name, version, schema_from: from, schema_to: to, started_at: at, beat: 0, watching: true };
    const beat = (row['beat'] as number) + 1;
    change([{ table: 'servers', key: String(id), row: { ...row, seen_at: at, beat, monotonic } }]);
    return [];
  },
  others: ({ tables }, [since]) => tables.rows('servers').filter((row) => (row['seen_at'] as number) > (since as number)),
  'lock activity': ({ relax }) => {
    relax();
    return [{}];
  },
  entry: ({ tables }, [seq]) => present([tables.entry(seq as number)]),
  'feed entries': ({ tables }, [from, limit]) => tables.entries(from as number, limit as number),
  walk: ({ tables }, [idC]) => present([tables.get('key_feed_walks', String(idC))]),
  'put walk': ({ change }, [controller, walk, tid, at, start, order]) => {
    const row = { controller, walk, tid, at, start_entry: start, order_number: order };
    change([{ table: 'key_feed_walks', key: String(controller), row }]);
    return [];
  },
  'feed nodes': ({ tables }, [idC, from, limit]) =>
    tables
      .rows('nodes')
      .filter((row) => row['controller'] === idC && (row['id'] as number) >= (from as number))
      .toSorted(byNumber('id'))
      .slice(0, limit as number),
  'feed former': ({ tables }, [idC, ids]) =>
    present(numbers(ids).map((id) => tables.get('former_assignments', `${id} ${String(idC)}`))),
  'page latchkey.recent_initial_keys': ({ tables }, [from, limit]) =>
    tables
      .rows('recent_initial_keys')
      .filter((row) => (row['node'] as number) >= (from as number))
      .toSorted(byNumber('node'))
      .slice(0, limit as number),
};

/** The others, by how their text begins. */
const UNNAMED: readonly (readonly [start: string, execute: Execute])[] = [
  ['SELECT hash FROM latchkey.audit WHERE seq = $1', ({ tables }, [seq]) => present([tables.entry(seq as number)])],
  [
    'UPDATE latchkey.registry SET lost = $1 WHERE lost IS NULL',
    (context, [lost]) => (context.tables.get('registry', 'one')?.['lost'] === null ? changeRegistry(context, { lost }) : []),
  ],
  ['DELETE FROM latchkey.servers WHERE id = $1', ({ change }, [id]) => removed(change, 'servers', [String(id)])],
  [
    'DELETE FROM latchkey.servers WHERE seen_at < $1',
    ({ tables, change }, [before]) =>
      removed(
        change,
        'servers',
        tables.rows('servers').flatMap((row) => ((row['seen_at'] as number) < (before as number) ? String(row['id']) : [])),
      ),
  ],
  [
    'SELECT id, unknown, activity FROM latchkey.node_activity WHERE id = ANY',
    ({ tables }, [ids]) =>
      present(
        numbers(ids).flatMap((id) => [true, false].map((unknown) => tables.get('node_activity', activityKey(unknown, id)))),
      ),
  ],
  [
    'SELECT count(*)::integer AS count FROM latchkey.node_activity WHERE unknown',
    ({ tables }) => [{ count: tables.rows('node_activity').filter((row) => row['unknown'] === true).length }],
  ],
  ['SELECT id, activity FROM latchkey.controller_activity WHERE id = ANY', byId('controller_activity')],
  [
    'DELETE FROM latchkey.node_activity WHERE NOT unknown AND id = ANY',
    ({ change }, [ids]) =>
      removed(
        change,
        'node_activity',
        numbers(ids).map((id) => activityKey(false, id)),
      ),
  ],
  [
    'DELETE FROM latchkey.node_activity WHERE unknown AND id = ANY',
    ({ change }, [ids]) =>
      removed(
        change,
        'node_activity',
        numbers(ids).map((id) => activityKey(true, id)),
      ),
  ],
  ['SELECT id, version, key, initial', byId('nodes')],
];

/** Runs a statement of a transaction; what begins, ends and locks is the backend's. */
export function execute(context: StatementContext, { name = '', text, values = [] }: Statement): readonly SqlRow[] {
  const known = NAMED[name] ?? UNNAMED.find(([start]) => text.startsWith(start))?.[1];
  if (known !== undefined) return known(context, values, text);
  if (text.startsWith('INSERT INTO latchkey.')) return upsert(context, values, text);
  const removal = /^DELETE FROM latchkey\.(\w+) WHERE \w+ = ANY\(\$1::bigint\[\]\)$/.exec(text);
  if (removal === null) throw new Error(`a statement that no simulated database knows: ${text}`);
  return removed(context.change, removal[1] as TableName, numbers(values[0]).map(String));
}

function removed(change: StatementContext['change'], table: TableName, keys: readonly string[]): readonly SqlRow[] {
  change(keys.map((key) => ({ table, key, row: undefined })));
  return [];
}

interface Insertion {
  readonly table: TableName;
  readonly columns: readonly string[];
  readonly types: readonly string[];
  /** Columns of the key; none: rows of the audit log. */
  readonly keys: readonly string[];
}

const INSERTION =
  /^INSERT INTO latchkey\.(?<table>\w+)(?: AS \w+)? \((?<columns>[^)]*)\)\s+SELECT \* FROM unnest\((?<types>.*?)\)(?:\s+ON CONFLICT \((?<keys>[^)]*)\) (?<action>DO UPDATE SET|DO NOTHING).*)?$/s;
const insertions = new Map<string, Insertion>();

function insertionOf(text: string): Insertion {
  const known = insertions.get(text);
  if (known !== undefined) return known;
  const { table, columns, types, keys } = INSERTION.exec(text)?.groups ?? {};
  if (table === undefined || columns === undefined || types === undefined)
    throw new Error(`a statement that no simulated database knows: ${text}`);
  const list = (names = ''): string[] => names.split(',').map((one) => one.trim());
  const insertion = {
    table: table as TableName,
    columns: list(columns),
    types: list(types).map((type) => type.replace(/^\$\d+::/, '')),
    keys: keys === undefined ? [] : list(keys),
  };
  insertions.set(text, insertion);
  return insertion;
}

/** `INSERT ... SELECT * FROM unnest(...)`, a column an array; a row that is there is replaced. */
function upsert({ tables, change }: StatementContext, values: readonly unknown[], text: string): readonly SqlRow[] {
  const { table, columns, types, keys } = insertionOf(text);
  const arrays = values as readonly (readonly unknown[])[];
  const changes = (arrays[0] ?? []).map((_, i): Change => {
    const row: Record<string, unknown> = {};
    for (const [at, column] of columns.entries()) {
      const value = arrays[at]?.[i] ?? null;
      row[column] = types[at] === 'jsonb[]' && value !== null ? (JSON.parse(value as string) as unknown) : value;
    }
    return { table, key: keys.map((name) => String(row[name])).join(' '), row };
  });
  if (table === 'audit') {
    const [first] = changes;
    const next = ((tables.lastEntry?.['seq'] as number | undefined) ?? 0) + 1;
    // A key that is there, or a gap, which no engine leaves.
    if (first !== undefined && first.row?.['seq'] !== next)
      throw new DatabaseFailure(`entry ${String(first.row?.['seq'])} does not come after entry ${next - 1}`, '23505');
  }
  change(changes);
  return [];
}

function byNumber(column: string): (a: SqlRow, b: SqlRow) => number {
  return (a, b) => (a[column] as number) - (b[column] as number);
}
