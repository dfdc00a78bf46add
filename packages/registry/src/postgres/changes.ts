/** What the writes of one batch change, gathered into one statement a table. */

import { randomOctets } from '@latchkey/runtime/daemon';
import { type AttributedEvent, chainEntry, hashOfEntry } from '../audit-chain.js';
import { entriesByNode, type FormerAssignment, formerAssignments } from '../model/node-assignments.js';
import type { RecentInitialKey } from '../model/recent-initial-keys.js';
import type {
  ControllerRow,
  NodeDescription,
  NodeRow,
  OrderRow,
  RetiredInitialKeyId,
  RetiredInitialKeyRow,
} from '../model/rows.js';
import type { MetadataName, Outcome, Puts, Removals, Versioned } from '../storage.js';
import type { Statement } from './connection.js';
import { toBuffer, toJson } from '../octets-json.js';
import { NotFetched, type Rows } from './snapshot.js';
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

const HASH_LENGTH = 32;

export const INSERT_ENTRIES = `INSERT INTO latchkey.audit (seq, at, hash, previous, body)
  SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bytea[], $4::bytea[], $5::text[])`;
export const PUT_METADATA = `INSERT INTO latchkey.metadata (name, version, value) SELECT * FROM unnest($1::text[], $2::bigint[], $3::jsonb[])
  ON CONFLICT (name) DO UPDATE SET version = EXCLUDED.version, value = EXCLUDED.value`;
const COUNT_METADATA = 'UPDATE latchkey.registry SET metadata_version = $1';
export const PUT_FORMER = `INSERT INTO latchkey.former_assignments AS f (node, controller, until_entry, tid)
  SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::text[])
  ON CONFLICT (node, controller) DO UPDATE
  SET until_entry = coalesce(EXCLUDED.until_entry, f.until_entry), tid = coalesce(EXCLUDED.tid, f.tid)`;

interface Entry {
  readonly seq: number;
  readonly at: number;
  readonly octets: Buffer;
}

/**
 * Returns a random version, which most probably no row had before. Sequential numbers would be used
 * again after a loss.
 */
export function drawVersion(): number {
  return toBuffer(randomOctets(6)).readUIntBE(0, 6) + 1;
}

export class Changes {
  readonly #rows: Rows;
  readonly #entries: Entry[] = [];
  /** `undefined`: it is removed. */
  readonly #nodes = new Map<number, NodeRow | undefined>();
  readonly #controllers = new Map<number, ControllerRow | undefined>();
  readonly #orders = new Map<number, OrderRow | undefined>();
  readonly #descriptions = new Map<number, NodeDescription | undefined>();
  readonly #recentKeys = new Map<number, readonly RecentInitialKey[] | undefined>();
  readonly #retired: (readonly [RetiredInitialKeyId, RetiredInitialKeyRow])[] = [];
  readonly #metadata = new Map<MetadataName, unknown>();
  readonly #former = new Map<string, FormerAssignment & { readonly idI: number; readonly idC: number }>();
  readonly #nodeActivity = new Set<number>();
  readonly #unknownNodeActivity = new Set<number>();
  readonly #controllerActivity = new Set<number>();
  readonly #versions = new Map<object, number>();

  /** `rows`: the rows that were read; the changes are applied to them. */
  constructor(rows: Rows) {
    this.#rows = rows;
  }

  /**
   * Adds what became of a write.
   *
   * @throws NotFetched before anything is added, if a node changes that was not named
   */
  add({ events = [], put = {}, remove = {} }: Outcome<unknown>): void {
    const missing = [...(put.nodes ?? []).map(([idI]) => idI), ...(remove.nodes ?? [])].filter(
      (idI) => !this.#rows.nodes.has(idI),
    );
    if (missing.length > 0) throw new NotFetched({ nodes: missing });
    for (const event of events) this.#append(event);
    this.#put(put);
    this.#remove(remove, events);
  }

  /** Which orders become, or stay, pending: with the versions that their rows get. */
  get pendingOrders(): readonly (readonly [number: number, version: number])[] {
    return [...this.#orders].flatMap(([number, row]) =>
      row?.state === 'pending' ? [[number, this.#versionOf(row)] as const] : [],
    );
  }

  get statements(): Statement[] {
    const statements: Statement[] = [];
    this.#tableStatements(statements, NODES, this.#nodes, 'id');
    this.#tableStatements(statements, CONTROLLERS, this.#controllers, 'id');
    this.#tableStatements(statements, ORDERS, this.#orders, 'number');
    this.#tableStatements(statements, NODE_DESCRIPTIONS, this.#descriptions, 'id');
    const keys = [...this.#recentKeys].map(([idI, kept]) => [idI, kept && encodeRecentKeys(kept)] as const);
    this.#tableStatements(statements, RECENT_INITIAL_KEYS, new Map(keys), 'node');
    if (this.#retired.length > 0)
      statements.push({
        name: 'put retired',
        text: RETIRED_INITIAL_KEYS.upsert,
        values: RETIRED_INITIAL_KEYS.upsertValues(this.#retired),
      });
    if (this.#former.size > 0) {
      const former = [...this.#former.values()];
      const values = [
        former.map(({ idI }) => idI),
        former.map(({ idC }) => idC),
        former.map(({ until }) => until ?? null),
        former.map(({ tid }) => tid ?? null),
      ];
      statements.push({ name: 'put former', text: PUT_FORMER, values });
    }
    this.#removal(
      statements,
      'DELETE FROM latchkey.node_activity WHERE NOT unknown AND id = ANY($1::bigint[])',
      this.#nodeActivity,
    );
    this.#removal(
      statements,
      'DELETE FROM latchkey.node_activity WHERE unknown AND id = ANY($1::bigint[])',
      this.#unknownNodeActivity,
    );
    this.#removal(statements, 'DELETE FROM latchkey.controller_activity WHERE id = ANY($1::bigint[])', this.#controllerActivity);
    if (this.#metadata.size > 0) {
      const boxes = [...this.#metadata.keys()].map((name) => [name, this.#rows.values.get(name)] as const);
      const values = [
        boxes.map(([name]) => name),
        boxes.map(([, box]) => box?.stamp),
        boxes.map(([, box]) => JSON.stringify(toJson(box?.value))),
      ];
      statements.push({ name: 'put metadata', text: PUT_METADATA, values });
      statements.push({ name: 'count metadata', text: COUNT_METADATA, values: [this.#rows.metadataNumber] });
    }
    if (this.#entries.length > 0)
      statements.push({ name: 'put entries', text: INSERT_ENTRIES, values: entryValues(this.#entries) });
    return statements;
  }

  #append(event: AttributedEvent): void {
    const { octets, head } = chainEntry(this.#rows.head, event, event.actor, event.at);
    this.#entries.push({ seq: head.seq, at: event.at, octets });
    this.#rows.head = head;
  }

  #put({
    nodes = [],
    controllers = [],
    orders = [],
    nodeDescriptions = [],
    recentInitialKeys = [],
    retiredInitialKeys = [],
    metadata = [],
  }: Puts): void {
    for (const [idI, row] of nodes) this.#changeNode(idI, row, row.entry);
    for (const [idC, row] of controllers) replace(this.#controllers, this.#rows.controllers, idC, row);
    for (const [number, row] of orders) {
      replace(this.#orders, this.#rows.orders, number, row);
      this.#rows.lastOrder = Math.max(this.#rows.lastOrder, number);
    }
    for (const [idI, description] of nodeDescriptions) {
      this.#descriptions.set(idI, description);
      this.#rows.descriptions.set(idI, description);
    }
    for (const [idI, keys] of recentInitialKeys) {
      this.#recentKeys.set(idI, keys.length === 0 ? undefined : keys);
      this.#rows.recentKeys.set(idI, keys);
    }
    this.#retired.push(...retiredInitialKeys);
    if (metadata.length === 0) return;
    const values = new Map(this.#rows.values);
    for (const [name, value] of metadata) {
      this.#metadata.set(name, value);
      values.set(name, { stamp: drawVersion(), value, version: {} });
    }
    this.#rows.values = values;
    this.#rows.metadataNumber += 1;
  }

  #remove(
    {
      nodes = [],
      controllers = [],
      orders = [],
      nodeDescriptions = [],
      nodeActivity = [],
      unknownNodeActivity = [],
      controllerActivity = [],
    }: Removals,
    events: readonly AttributedEvent[],
  ): void {
    const { seq } = this.#rows.head;
    const entries = nodes.length === 0 ? new Map<number, number>() : entriesByNode(events, seq);
    for (const idI of nodes) this.#changeNode(idI, undefined, entries.get(idI) ?? seq);
    for (const idC of controllers) replace(this.#controllers, this.#rows.controllers, idC, undefined);
    for (const number of orders) replace(this.#orders, this.#rows.orders, number, undefined);
    for (const idI of nodeDescriptions) {
      this.#descriptions.set(idI, undefined);
      this.#rows.descriptions.set(idI, undefined);
    }
    for (const idI of nodeActivity) {
      this.#nodeActivity.add(idI);
      this.#rows.activityOfNodes.set(idI, undefined);
    }
    for (const idI of unknownNodeActivity) this.#unknownNodeActivity.add(idI);
    for (const idC of controllerActivity) {
      this.#controllerActivity.add(idC);
      this.#rows.activityOfControllers.set(idC, undefined);
    }
  }

  #changeNode(idI: number, after: NodeRow | undefined, entry: number): void {
    const before = this.#rows.nodes.get(idI)?.row;
    replace(this.#nodes, this.#rows.nodes, idI, after);
    if (before === undefined) return;
    for (const [idC, added] of formerAssignments(before, after, entry)) {
      const key = `${idI} ${idC}`;
      this.#former.set(key, { ...this.#former.get(key), ...added, idI, idC });
    }
  }

  /** The same each time it is asked for. */
  #versionOf(row: object): number {
    const known = this.#versions.get(row);
    if (known !== undefined) return known;
    const drawn = drawVersion();
    this.#versions.set(row, drawn);
    return drawn;
  }

  #tableStatements<R extends object>(
    statements: Statement[],
    table: SqlTable<number, R>,
    changed: ReadonlyMap<number, R | undefined>,
    key: string,
  ): void {
    const put: (readonly [number, R])[] = [];
    const removed: number[] = [];
    for (const [id, row] of changed) {
      if (row === undefined) removed.push(id);
      else put.push([id, row]);
    }
    if (put.length > 0) {
      let at = 0;
      const values = table.upsertValues(put, () => this.#versionOf(put[at++]?.[1] ?? {}));
      statements.push({ name: `put ${table.name}`, text: table.upsert, values });
    }
    if (removed.length > 0)
      statements.push({
        name: `remove ${table.name}`,
        text: `DELETE FROM ${table.name} WHERE ${key} = ANY($1::bigint[])`,
        values: [removed],
      });
  }

  #removal(statements: Statement[], text: string, ids: ReadonlySet<number>): void {
    if (ids.size > 0) statements.push({ text, values: [[...ids]] });
  }
}

function replace<R>(
  changed: Map<number, R | undefined>,
  rows: Map<number, Versioned<R> | undefined>,
  key: number,
  row: R | undefined,
): void {
  changed.set(key, row);
  rows.set(key, row === undefined ? undefined : { row, version: {} });
}

export function entryValues(entries: readonly Entry[]): unknown[][] {
  return [
    entries.map(({ seq }) => seq),
    entries.map(({ at }) => at),
    entries.map(({ octets }) => hashOfEntry(octets)),
    entries.map(({ octets }) => octets.subarray(HASH_LENGTH, 2 * HASH_LENGTH)),
    entries.map(({ octets }) => octets.toString('utf8', 2 * HASH_LENGTH)),
  ];
}

/** The octets of an entry, as its row has them. */
export function entryOctets(row: Readonly<Record<string, unknown>>): Buffer {
  const { hash, previous, body } = row as { readonly hash: Buffer; readonly previous: Buffer; readonly body: string };
  return Buffer.concat([toBuffer(hash), toBuffer(previous), Buffer.from(body)]);
}
