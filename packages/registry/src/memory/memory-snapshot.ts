import type { ChainHead } from '../audit-chain.js';
import type { RecentInitialKey } from '../model/recent-initial-keys.js';
import type { ControllerActivity, ControllerRow, NodeActivity, NodeDescription, NodeRow, OrderRow } from '../model/rows.js';
import type { Keys, MetadataName, Snapshot, Version, Versioned } from '../storage.js';
import type { Box, MemoryState } from './memory-state.js';

/**
 * What is there at this moment under the keys that were named. One that was not named throws: an
 * engine that is a round trip away would not have it.
 */
export class MemorySnapshot implements Snapshot {
  readonly lastOrder: number;
  readonly head: ChainHead;
  readonly #nodes: ReadonlyMap<number, NodeRow | undefined>;
  readonly #controllers: ReadonlyMap<number, ControllerRow | undefined>;
  readonly #orders: ReadonlyMap<number, OrderRow | undefined>;
  readonly #nodeDescriptions: ReadonlyMap<number, NodeDescription | undefined>;
  readonly #recentInitialKeys: ReadonlyMap<number, readonly RecentInitialKey[] | undefined>;
  readonly #nodeActivity: ReadonlyMap<number, NodeActivity | undefined>;
  readonly #controllerActivity: ReadonlyMap<number, ControllerActivity | undefined>;
  readonly #metadata: ReadonlyMap<MetadataName, Box | undefined>;

  constructor(state: MemoryState, keys: Keys) {
    this.lastOrder = Math.max(0, ...state.orders.keys());
    this.head = state.head;
    this.#nodes = taken(state.nodes, keys.nodes);
    const rows = [...this.#nodes.values()].filter((row) => row !== undefined);
    this.#controllers = taken(state.controllers, [...(keys.controllers ?? []), ...rows.map(({ controller }) => controller)]);
    this.#orders = taken(state.orders, [...(keys.orders ?? []), ...rows.map(({ order }) => order)]);
    this.#nodeDescriptions = taken(state.nodeDescriptions, keys.nodeDescriptions);
    this.#recentInitialKeys = taken(state.recentInitialKeys, keys.recentInitialKeys);
    const { nodeActivity, unknownNodeActivity, nodes } = state;
    this.#nodeActivity = new Map(
      (keys.nodeActivity ?? []).map((idI) => [idI, (nodes.has(idI) ? nodeActivity : unknownNodeActivity).get(idI)]),
    );
    this.#controllerActivity = taken(state.controllerActivity, keys.controllerActivity);
    this.#metadata = taken(state.metadata, keys.metadata);
  }

  node(idI: number): Versioned<NodeRow> | undefined {
    return versioned(named(this.#nodes, idI));
  }

  controller(idC: number): Versioned<ControllerRow> | undefined {
    return versioned(named(this.#controllers, idC));
  }

  order(number: number): Versioned<OrderRow> | undefined {
    return versioned(named(this.#orders, number));
  }

  nodeDescription(idI: number): NodeDescription | undefined {
    return named(this.#nodeDescriptions, idI);
  }

  recentInitialKeys(idI: number): readonly RecentInitialKey[] {
    return named(this.#recentInitialKeys, idI) ?? [];
  }

  nodeActivity(idI: number): NodeActivity | undefined {
    return named(this.#nodeActivity, idI);
  }

  controllerActivity(idC: number): ControllerActivity | undefined {
    return named(this.#controllerActivity, idC);
  }

  metadata(name: MetadataName): unknown {
    return named(this.#metadata, name)?.value;
  }

  metadataVersion(name: MetadataName): Version | undefined {
    return named(this.#metadata, name);
  }
}

function taken<K, R>(table: ReadonlyMap<K, R>, keys: readonly K[] = []): Map<K, R | undefined> {
  return new Map(keys.map((key) => [key, table.get(key)]));
}

function named<K extends number | string, R>(rows: ReadonlyMap<K, R | undefined>, key: K): R | undefined {
  if (!rows.has(key)) throw new RangeError(`${key} is not among the keys of this read or write`);
  return rows.get(key);
}

/** A row is replaced as a whole, so that it is its own version. */
function versioned<R extends object>(row: R | undefined): Versioned<R> | undefined {
  return row && { row, version: row };
}
