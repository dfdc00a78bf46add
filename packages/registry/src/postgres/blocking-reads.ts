/** What the thread that reads for `BlockingStorage` can be asked, and what it gives. */

import type { MessagePort } from 'node:worker_threads';
import type { CommandLine } from '@latchkey/runtime/failure';
import type { ChainHead } from '../audit-chain.js';
import type { Entry } from '../audit-log.js';
import type { AssignedNode, FormerAssignment } from '../model/node-assignments.js';
import type { RecentInitialKey } from '../model/recent-initial-keys.js';
import type { ControllerActivity, ControllerRow, NodeActivity, NodeDescription, NodeRow, OrderRow } from '../model/rows.js';
import { type Keys, METADATA_NAMES, type MetadataName, type RegistryStorage, type Snapshot } from '../storage.js';
import type { PostgresConfig } from './config.js';
import type { PostgresStorage } from './postgres-storage.js';

export interface ThreadOptions {
  readonly config: PostgresConfig;
  readonly folder: string;
  /** Takes questions, and gives answers. */
  readonly port: MessagePort;
  /** Becomes 1 once the answer is there. */
  readonly signal: Int32Array;
}

/** What a read found, of the keys that it named. */
export interface SnapshotData {
  readonly nodes: ReadonlyMap<number, NodeRow>;
  readonly controllers: ReadonlyMap<number, ControllerRow>;
  readonly orders: ReadonlyMap<number, OrderRow>;
  readonly nodeDescriptions: ReadonlyMap<number, NodeDescription>;
  readonly recentInitialKeys: ReadonlyMap<number, readonly RecentInitialKey[]>;
  readonly nodeActivity: ReadonlyMap<number, NodeActivity>;
  readonly controllerActivity: ReadonlyMap<number, ControllerActivity>;
  readonly metadata: ReadonlyMap<MetadataName, unknown>;
  readonly lastOrder: number;
  readonly head: ChainHead;
}

/** A Failure as it goes from thread to thread; without `run`: another error. */
export interface ThrownFailure {
  readonly name: string;
  readonly message: string;
  readonly advice?: string | undefined;
  readonly run?: readonly CommandLine[];
}

export type Answer = { readonly result: unknown } | { readonly failure: ThrownFailure };

/** What can be asked: plain data in, plain data out. */
export class BlockingReads {
  readonly #storage: PostgresStorage;

  constructor(storage: PostgresStorage) {
    this.#storage = storage;
  }

  async read(keys: Keys): Promise<SnapshotData> {
    return toData(keys, await this.#storage.read(keys));
  }

  nodePage(...[from, limit]: Parameters<RegistryStorage['nodePage']>): ReturnType<PostgresStorage['nodePage']> {
    return this.#storage.nodePage(from, limit);
  }

  controllerPage(...[from, limit]: Parameters<RegistryStorage['controllerPage']>): ReturnType<PostgresStorage['controllerPage']> {
    return this.#storage.controllerPage(from, limit);
  }

  orderPage(...[from, limit]: Parameters<RegistryStorage['orderPage']>): ReturnType<PostgresStorage['orderPage']> {
    return this.#storage.orderPage(from, limit);
  }

  nodeDescriptionPage(
    ...[from, limit]: Parameters<RegistryStorage['nodeDescriptionPage']>
  ): ReturnType<PostgresStorage['nodeDescriptionPage']> {
    return this.#storage.nodeDescriptionPage(from, limit);
  }

  recentInitialKeyPage(
    ...[from, limit]: Parameters<RegistryStorage['recentInitialKeyPage']>
  ): ReturnType<PostgresStorage['recentInitialKeyPage']> {
    return this.#storage.recentInitialKeyPage(from, limit);
  }

  retiredInitialKeyPage(
    ...[after, limit]: Parameters<RegistryStorage['retiredInitialKeyPage']>
  ): ReturnType<PostgresStorage['retiredInitialKeyPage']> {
    return this.#storage.retiredInitialKeyPage(after, limit);
  }

  nodeCount(): Promise<number> {
    return this.#storage.nodeCount();
  }

  async auditEnds(): Promise<{ readonly start: ChainHead; readonly head: ChainHead }> {
    const { audit } = this.#storage;
    const [start, head] = [await audit.start, await audit.head];
    return { start, head };
  }

  async auditLength(): Promise<number> {
    return this.#storage.audit.length;
  }

  auditEntry(seq: number): Promise<Buffer | undefined> {
    return this.#storage.audit.get(seq);
  }

  auditPage(from: number, limit: number): Promise<readonly Entry[]> {
    return take(this.#storage.audit.ascending(from), limit);
  }

  auditPageBefore(last: number, limit: number): Promise<readonly Entry[]> {
    return take(this.#storage.audit.descending(last), limit);
  }

  nodesOf(idC: number, from: number, limit: number): Promise<readonly AssignedNode[]> {
    return take(this.#storage.assignments.nodesOf(idC, from), limit);
  }

  former(idI: number, idC: number): Promise<FormerAssignment | undefined> {
    return this.#storage.assignments.former(idI, idC);
  }
}

/** The first ones. Nothing more is read than these and what came with them. */
async function take<T>(rows: AsyncIterable<T>, limit: number): Promise<readonly T[]> {
  const taken: T[] = [];
  for await (const row of rows) {
    taken.push(row);
    if (taken.length === limit) break;
  }
  return taken;
}

function toData(keys: Keys, found: Snapshot): SnapshotData {
  const nodes = rowsOf(keys.nodes, (idI) => found.node(idI)?.row);
  const rows = [...nodes.values()];
  return {
    nodes,
    // They come with a node.
    controllers: rowsOf(
      [...(keys.controllers ?? []), ...rows.map(({ controller }) => controller)],
      (idC) => found.controller(idC)?.row,
    ),
    orders: rowsOf([...(keys.orders ?? []), ...rows.map(({ order }) => order)], (number) => found.order(number)?.row),
    nodeDescriptions: rowsOf(keys.nodeDescriptions, (idI) => found.nodeDescription(idI)),
    recentInitialKeys: rowsOf(keys.recentInitialKeys, (idI) => found.recentInitialKeys(idI)),
    nodeActivity: rowsOf(keys.nodeActivity, (idI) => found.nodeActivity(idI)),
    controllerActivity: rowsOf(keys.controllerActivity, (idC) => found.controllerActivity(idC)),
    metadata: rowsOf(METADATA_NAMES, (name) => found.metadata(name)),
    lastOrder: found.lastOrder,
    head: found.head,
  };
}

function rowsOf<K, R>(keys: readonly K[] = [], read: (key: K) => R | undefined): Map<K, R> {
  const rows = new Map<K, R>();
  for (const key of keys) {
    const row = read(key);
    if (row !== undefined) rows.set(key, row);
  }
  return rows;
}
