import { chainEntry, type ChainHead, EMPTY_CHAIN, hashOfEntry, type AttributedEvent, type StoredChain } from '../audit-chain.js';
import type { AuditTable } from '../audit-log.js';
import type { WalkRow } from '../key-feed.js';
import {
  type AssignedNode,
  type AssignmentTable,
  entriesByNode,
  type FormerAssignment,
  formerAssignments,
} from '../model/node-assignments.js';
import type { RecentInitialKey } from '../model/recent-initial-keys.js';
import type {
  ControllerActivity,
  ControllerRow,
  NodeActivity,
  NodeDescription,
  NodeRow,
  OrderRow,
  RetiredInitialKeyId,
  RetiredInitialKeyRow,
} from '../model/rows.js';
import type { MetadataName, Outcome, Page, RetiredInitialKeyPage } from '../storage.js';

/** A value under a metadata name. The box is its version. */
export interface Box {
  readonly value: unknown;
}

/** All that a registry is, at one moment. Rows are never changed, only replaced. */
export class MemoryState implements AuditTable, AssignmentTable {
  readonly nodes: Map<number, NodeRow>;
  readonly controllers: Map<number, ControllerRow>;
  readonly orders: Map<number, OrderRow>;
  readonly nodeDescriptions: Map<number, NodeDescription>;
  readonly recentInitialKeys: Map<number, readonly RecentInitialKey[]>;
  /** By their key as text. */
  readonly retiredInitialKeys: Map<string, readonly [RetiredInitialKeyId, RetiredInitialKeyRow]>;
  readonly nodeActivity: Map<number, NodeActivity>;
  readonly unknownNodeActivity: Map<number, NodeActivity>;
  readonly controllerActivity: Map<number, ControllerActivity>;
  readonly metadata: Map<MetadataName, Box>;
  /** By ID_i and ID_c. */
  readonly formerAssignments: Map<string, FormerAssignment>;
  /** Of each controller through its nodes. */
  readonly walks: Map<number, WalkRow>;
  readonly entries: Map<number, Buffer>;
  start: ChainHead;
  head: ChainHead;
  /** Names the registry in cursors of the key feed, until it is restored. */
  incarnation: number;

  constructor(from?: MemoryState) {
    this.nodes = new Map(from?.nodes);
    this.controllers = new Map(from?.controllers);
    this.orders = new Map(from?.orders);
    this.nodeDescriptions = new Map(from?.nodeDescriptions);
    this.recentInitialKeys = new Map(from?.recentInitialKeys);
    this.retiredInitialKeys = new Map(from?.retiredInitialKeys);
    this.nodeActivity = new Map(from?.nodeActivity);
    this.unknownNodeActivity = new Map(from?.unknownNodeActivity);
    this.controllerActivity = new Map(from?.controllerActivity);
    this.metadata = new Map(from?.metadata);
    this.formerAssignments = new Map(from?.formerAssignments);
    this.walks = new Map(from?.walks);
    this.entries = new Map(from?.entries);
    this.start = from?.start ?? EMPTY_CHAIN;
    this.head = from?.head ?? EMPTY_CHAIN;
    this.incarnation = from?.incarnation ?? 0;
  }

  get length(): number {
    return this.entries.size;
  }

  get(seq: number): Buffer | undefined {
    return this.entries.get(seq);
  }

  *ascending(from: number): Generator<readonly [number, Buffer]> {
    for (const entry of this.#everything()) if (entry[0] >= from) yield entry;
  }

  descending(from: number = Infinity): (readonly [number, Buffer])[] {
    return this.#everything()
      .filter(([seq]) => seq <= from)
      .toReversed();
  }

  chain(): StoredChain {
    return { start: this.start, head: this.head, entries: this.#everything() };
  }

  #everything(): (readonly [number, Buffer])[] {
    return [...this.entries].toSorted(byKey);
  }

  append(event: AttributedEvent): void {
    const { octets, head } = chainEntry(this.head, event, event.actor, event.at);
    this.entries.set(head.seq, octets);
    this.head = head;
  }

  /** `after`: `undefined` if the row is removed. `entry`: of the change. */
  changeNode(idI: number, after: NodeRow | undefined, entry: number): void {
    const before = this.nodes.get(idI);
    if (after === undefined) this.nodes.delete(idI);
    else this.nodes.set(idI, after);
    if (before === undefined) return;
    for (const [idC, added] of formerAssignments(before, after, entry))
      this.formerAssignments.set(pair(idI, idC), { ...this.former(idI, idC), ...added });
  }

  *nodesOf(idC: number, from: number = 0): Generator<AssignedNode> {
    for (const [idI, { controller, order }] of [...this.nodes].toSorted(byKey))
      if (controller === idC && idI >= from) yield { idI, order };
  }

  former(idI: number, idC: number): FormerAssignment | undefined {
    return this.formerAssignments.get(pair(idI, idC));
  }

  /** In ascending order of node, then of controller. */
  allFormer(): (readonly [ids: readonly [idI: number, idC: number], FormerAssignment])[] {
    return [...this.formerAssignments]
      .map(([ids, former]) => [ids.split(' ').map(Number) as [number, number], former] as const)
      .toSorted(([[idA, ofA]], [[idB, ofB]]) => idA - idB || ofA - ofB);
  }

  /** Cursors of the key feed from before count no more. */
  startIncarnation(incarnation: number): void {
    this.incarnation = incarnation;
    this.walks.clear();
  }

  /**
   * Removes up to `limit` of the first entries of the log, none after `last`. Returns their number.
   */
  removeEntries(last: number, limit: number): number {
    const removed = this.#everything()
      .filter(([seq]) => seq <= last)
      .slice(0, limit);
    const end = removed.at(-1);
    if (end !== undefined) this.start = { seq: end[0], hash: hashOfEntry(end[1]), at: 0 };
    for (const [seq] of removed) this.entries.delete(seq);
    return removed.length;
  }
}

/** A part of a write. */
export type Step = (state: MemoryState) => void;

/**
 * Returns the changes of an outcome, one step after another. A torn write ends before its last
 * step.
 */
export function stepsOf({ events = [], put = {}, remove = {} }: Outcome<unknown>): Step[] {
  const steps: Step[] = [];
  for (const event of events) steps.push((state) => state.append(event));
  for (const [idI, row] of copied(put.nodes)) steps.push((state) => state.changeNode(idI, row, row.entry));
  for (const [idC, row] of copied(put.controllers)) steps.push(({ controllers }) => controllers.set(idC, row));
  for (const [number, row] of copied(put.orders)) steps.push(({ orders }) => orders.set(number, row));
  for (const [idI, row] of copied(put.nodeDescriptions)) steps.push(({ nodeDescriptions }) => nodeDescriptions.set(idI, row));
  for (const [name, value] of copied(put.metadata)) {
    const box = { value };
    steps.push(({ metadata }) => metadata.set(name, box));
  }
  for (const [idI, keys] of copied(put.recentInitialKeys)) {
    steps.push(({ recentInitialKeys }) => (keys.length === 0 ? recentInitialKeys.delete(idI) : recentInitialKeys.set(idI, keys)));
  }
  for (const [id, row] of copied(put.retiredInitialKeys))
    steps.push(({ retiredInitialKeys }) => retiredInitialKeys.set(pair(...id), [id, row]));
  const entries = entriesByNode(events, 0);
  for (const idI of remove.nodes ?? [])
    steps.push((state) => state.changeNode(idI, undefined, state.head.seq + (entries.get(idI) ?? 0)));
  for (const idC of remove.controllers ?? []) steps.push(({ controllers }) => controllers.delete(idC));
  for (const number of remove.orders ?? []) steps.push(({ orders }) => orders.delete(number));
  for (const idI of remove.nodeDescriptions ?? []) steps.push(({ nodeDescriptions }) => nodeDescriptions.delete(idI));
  for (const idI of remove.unknownNodeActivity ?? []) steps.push(({ unknownNodeActivity }) => unknownNodeActivity.delete(idI));
  for (const idI of remove.nodeActivity ?? []) steps.push(({ nodeActivity }) => nodeActivity.delete(idI));
  for (const idC of remove.controllerActivity ?? []) steps.push(({ controllerActivity }) => controllerActivity.delete(idC));
  return steps;
}

/** In ascending order of key. */
export function pageOf<R>(table: ReadonlyMap<number, R>, from: number, limit: number): Page<R> {
  return [...table]
    .filter(([key]) => key >= from)
    .toSorted(byKey)
    .slice(0, limit);
}

/** The rows after a key, or the first ones. */
export function retiredPageOf(
  { retiredInitialKeys }: MemoryState,
  after: RetiredInitialKeyId | undefined,
  limit: number,
): RetiredInitialKeyPage {
  return [...retiredInitialKeys.values()]
    .filter(([id]) => after === undefined || compareIds(id, after) > 0)
    .toSorted(([a], [b]) => compareIds(a, b))
    .slice(0, limit);
}

function compareIds([entryA, idA]: RetiredInitialKeyId, [entryB, idB]: RetiredInitialKeyId): number {
  return entryA - entryB || idA - idB;
}

/** Rows of the store's own: the caller may change its object afterwards. */
function copied<K, R>(rows: readonly (readonly [K, R])[] = []): (readonly [K, R])[] {
  return rows.map(([key, row]) => [key, copyOf(row)] as const);
}

/** As `structuredClone`, of what rows are made of, in a fraction of the time. */
function copyOf<T>(value: T): T {
  if (typeof value !== 'object' || value === null) return value;
  if (value instanceof Uint8Array) return value.slice() as T;
  if (Array.isArray(value)) return value.map(copyOf) as T;
  return Object.fromEntries(Object.entries(value).map(([name, content]) => [name, copyOf<unknown>(content)])) as T;
}

function pair(first: number, second: number): string {
  return `${first} ${second}`;
}

function byKey([a]: readonly [number, unknown], [b]: readonly [number, unknown]): number {
  return a - b;
}
