/**
 * The engine for a process that reads as from LMDB, without `await`: a command, or the management
 * API. Reads are done by a thread with connections of its own, and this thread stands still until
 * they are here, some milliseconds. So it is nothing for a server, which has others to answer.
 * Writes are as those of the engine.
 */

import { Buffer } from 'node:buffer';
import { MessageChannel, type MessagePort, receiveMessageOnPort, Worker } from 'node:worker_threads';
import type { Clock } from '@latchkey/runtime/daemon';
import { Failure, UsageFailure } from '@latchkey/runtime/failure';
import type { AttributedEvent, ChainHead, StoredChain } from '../audit-chain.js';
import type { AuditTable, Entry } from '../audit-log.js';
import type { ActivityBatch } from '../model/activity.js';
import type { AssignedNode, AssignmentTable, FormerAssignment } from '../model/node-assignments.js';
import type { NodeCounts, NodeFilter, NodeGroups, NodeListPage, NodeListQuery } from '../model/node-query.js';
import type { RecentInitialKey } from '../model/recent-initial-keys.js';
import type { ControllerRow, NodeActivity, NodeDescription, NodeRow, OrderRow, RetiredInitialKeyId } from '../model/rows.js';
import {
  type Decide,
  type Keys,
  type MetadataName,
  type Page,
  type RegistryStorage,
  type RetiredInitialKeyPage,
  type Snapshot,
  Unavailable,
  type Version,
  type Versioned,
} from '../storage.js';
import type { PostgresConfig } from './config.js';
import type { Answer, BlockingReads, SnapshotData, ThreadOptions, ThrownFailure } from './blocking-reads.js';
import type { PostgresStorage } from './postgres-storage.js';

/** For an answer, in ms: beyond all limits of the engine itself, three hosts that hang included. */
const TIMEOUT_MS = 60_000;
const PAGE_SIZE = 1_024;
const LAST_PLACE = 2 ** 53 - 1;
/** Under vitest this is a module of src, which a thread cannot run. */
const THREAD = new URL(
  import.meta.url.endsWith('.ts') ? '../../dist/postgres/blocking-thread.js' : './blocking-thread.js',
  import.meta.url,
);

export class BlockingStorage implements RegistryStorage {
  readonly audit: AuditTable;
  readonly assignments: AssignmentTable;
  readonly #storage: PostgresStorage;
  readonly #thread: ReadingThread;

  constructor(storage: PostgresStorage, config: PostgresConfig, folder: string) {
    this.#storage = storage;
    this.#thread = new ReadingThread({ config, folder });
    this.audit = new BlockingAuditTable(this.#thread, storage.audit);
    this.assignments = new BlockingAssignments(this.#thread);
  }

  /** The one clock of all servers of the registry: the database's. */
  get clock(): Clock {
    return this.#storage.clock;
  }

  read(keys: Keys): Snapshot {
    return new ReadSnapshot(this.#thread.ask('read', keys));
  }

  get metadata(): Pick<Snapshot, 'metadata' | 'metadataVersion'> {
    return this.read({});
  }

  nodePage(from: number, limit: number): Page<NodeRow> {
    return this.#thread.ask('nodePage', from, limit);
  }

  controllerPage(from: number, limit: number): Page<ControllerRow> {
    return this.#thread.ask('controllerPage', from, limit);
  }

  orderPage(from: number, limit: number): Page<OrderRow> {
    return this.#thread.ask('orderPage', from, limit);
  }

  nodeDescriptionPage(from: number, limit: number): Page<NodeDescription> {
    return this.#thread.ask('nodeDescriptionPage', from, limit);
  }

  recentInitialKeyPage(from: number, limit: number): Page<readonly RecentInitialKey[]> {
    return this.#thread.ask('recentInitialKeyPage', from, limit);
  }

  retiredInitialKeyPage(after: RetiredInitialKeyId | undefined, limit: number): RetiredInitialKeyPage {
    return this.#thread.ask('retiredInitialKeyPage', after, limit);
  }

  unknownNodePage(from: number, limit: number): Promise<Page<NodeActivity>> {
    return this.#storage.unknownNodePage(from, limit);
  }

  nodeList(query: NodeListQuery): Promise<NodeListPage> {
    return this.#storage.nodeList(query);
  }

  nodeCounts<G extends keyof NodeGroups>(filter: NodeFilter, now: number, by: G): Promise<NodeCounts<G>> {
    return this.#storage.nodeCounts(filter, now, by);
  }

  nodeCount(): number {
    return this.#thread.ask('nodeCount');
  }

  write<T>(keys: Keys, decide: Decide<T>): Promise<T> {
    return this.#storage.write(keys, decide);
  }

  load(
    order: number,
    keys: Keys,
    rowsOf: (found: Snapshot) => Page<NodeRow>,
    descriptions?: Page<NodeDescription>,
  ): Promise<void> {
    return this.#storage.load(order, keys, rowsOf, descriptions);
  }

  unload(order: number): Promise<void> {
    return this.#storage.unload(order);
  }

  recordActivity(batch: ActivityBatch): Promise<void> {
    return this.#storage.recordActivity(batch);
  }

  pruneAudit(last: number, limit: number, event?: AttributedEvent): Promise<number> {
    return this.#storage.pruneAudit(last, limit, event);
  }

  maintain(): void {
    this.#storage.maintain();
  }

  async close(): Promise<void> {
    await this.#thread.close();
    await this.#storage.close();
  }
}

/** Asks the thread, and waits. */
class ReadingThread {
  readonly #options: Omit<ThreadOptions, 'port' | 'signal'>;
  #running: { readonly worker: Worker; readonly port: MessagePort; readonly signal: Int32Array } | undefined;

  constructor(options: Omit<ThreadOptions, 'port' | 'signal'>) {
    this.#options = options;
  }

  ask<M extends keyof BlockingReads>(method: M, ...args: Parameters<BlockingReads[M]>): Awaited<ReturnType<BlockingReads[M]>> {
    const { port, signal } = (this.#running ??= this.#start());
    Atomics.store(signal, 0, 0);
    port.postMessage({ method, args });
    if (Atomics.wait(signal, 0, 0, TIMEOUT_MS) === 'timed-out') {
      // What comes later must not be taken for the answer to another question.
      void this.close();
      throw new Unavailable(`the database did not answer within ${TIMEOUT_MS / 1_000} s`, {
        advice: 'Nothing was changed. Try again.',
      });
    }
    const answer = receiveMessageOnPort(port)?.message as Answer;
    if ('failure' in answer) throw toFailure(answer.failure);
    return withBuffers(answer.result) as Awaited<ReturnType<BlockingReads[M]>>;
  }

  async close(): Promise<void> {
    const running = this.#running;
    this.#running = undefined;
    running?.port.close();
    // It closes its connections once its port is closed.
    if (running !== undefined) await new Promise((resolve) => running.worker.once('exit', resolve));
  }

  #start(): { readonly worker: Worker; readonly port: MessagePort; readonly signal: Int32Array } {
    const { port1: port, port2 } = new MessageChannel();
    const signal = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT));
    const workerData: ThreadOptions = { ...this.#options, port: port2, signal };
    const worker = new Worker(THREAD, { workerData, transferList: [port2] });
    // Neither keeps the process from ending.
    worker.unref();
    port.unref();
    return { worker, port, signal };
  }
}

class BlockingAuditTable implements AuditTable {
  readonly #thread: ReadingThread;
  readonly #table: AuditTable;

  constructor(thread: ReadingThread, table: AuditTable) {
    this.#thread = thread;
    this.#table = table;
  }

  get start(): ChainHead {
    return this.#thread.ask('auditEnds').start;
  }

  get head(): ChainHead {
    return this.#thread.ask('auditEnds').head;
  }

  get length(): number {
    return this.#thread.ask('auditLength');
  }

  get(seq: number): Buffer | undefined {
    return this.#thread.ask('auditEntry', seq);
  }

  *ascending(from: number): Generator<Entry> {
    for (let next = from; ;) {
      const page = this.#thread.ask('auditPage', next, PAGE_SIZE);
      yield* page;
      if (page.length < PAGE_SIZE) return;
      next = (page.at(-1)?.[0] ?? 0) + 1;
    }
  }

  *descending(): Generator<Entry> {
    for (let next = LAST_PLACE; ;) {
      const page = this.#thread.ask('auditPageBefore', next, PAGE_SIZE);
      yield* page;
      if (page.length < PAGE_SIZE) return;
      next = (page.at(-1)?.[0] ?? 0) - 1;
    }
  }

  chain(): StoredChain | Promise<StoredChain> {
    return this.#table.chain();
  }
}

class BlockingAssignments implements AssignmentTable {
  readonly #thread: ReadingThread;

  constructor(thread: ReadingThread) {
    this.#thread = thread;
  }

  *nodesOf(idC: number, from: number = 0): Generator<AssignedNode> {
    for (let next = from; ;) {
      const page = this.#thread.ask('nodesOf', idC, next, PAGE_SIZE);
      yield* page;
      if (page.length < PAGE_SIZE) return;
      next = (page.at(-1)?.idI ?? 0) + 1;
    }
  }

  former(idI: number, idC: number): FormerAssignment | undefined {
    return this.#thread.ask('former', idI, idC);
  }
}

/** Each row has a version of its own, as if it had changed: that costs a retry at most. */
class ReadSnapshot implements Snapshot {
  readonly #data: SnapshotData;
  readonly lastOrder: number;
  readonly head: ChainHead;

  constructor(data: SnapshotData) {
    this.#data = data;
    this.lastOrder = data.lastOrder;
    this.head = data.head;
  }

  node(idI: number): Versioned<NodeRow> | undefined {
    return versioned(this.#data.nodes.get(idI));
  }

  controller(idC: number): Versioned<ControllerRow> | undefined {
    return versioned(this.#data.controllers.get(idC));
  }

  order(number: number): Versioned<OrderRow> | undefined {
    return versioned(this.#data.orders.get(number));
  }

  nodeDescription(idI: number): NodeDescription | undefined {
    return this.#data.nodeDescriptions.get(idI);
  }

  recentInitialKeys(idI: number): readonly RecentInitialKey[] {
    return this.#data.recentInitialKeys.get(idI) ?? [];
  }

  nodeActivity: Snapshot['nodeActivity'] = (idI) => this.#data.nodeActivity.get(idI);

  controllerActivity: Snapshot['controllerActivity'] = (idC) => this.#data.controllerActivity.get(idC);

  metadata(name: MetadataName): unknown {
    return this.#data.metadata.get(name);
  }

  metadataVersion(name: MetadataName): Version | undefined {
    return this.#data.metadata.has(name) ? {} : undefined;
  }
}

function versioned<R extends object>(row: R | undefined): Versioned<R> | undefined {
  return row === undefined ? undefined : { row, version: row };
}

/** A Buffer arrives from another thread as what it is made of. */
function withBuffers(value: unknown): unknown {
  if (value instanceof Uint8Array) return Buffer.from(value.buffer, value.byteOffset, value.byteLength);
  if (Array.isArray(value)) return value.map(withBuffers);
  if (value instanceof Map) return new Map([...value].map(([key, of]) => [key, withBuffers(of)]));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, of]) => [name, withBuffers(of)]));
}

function toFailure({ name, message, advice, run }: ThrownFailure): Error {
  if (run === undefined) return new Error(message);
  const options = { run, ...(advice === undefined ? {} : { advice }) };
  if (name === 'Unavailable') return new Unavailable(message, options);
  return name === 'UsageFailure' ? new UsageFailure(message, options) : new Failure(message, options);
}
