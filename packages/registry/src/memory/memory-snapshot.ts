import type { ChainHead } from '../audit-chain.js';
import type { RecentInitialKey } from '../model/recent-initial-keys.js';
import type { ControllerActivity, ControllerRow, NodeActivity, NodeDescription, NodeRow, OrderRow } from '../model/rows.js';
import type { Keys, MetadataName, Snapshot, Version, Versioned } from '../storage.js';
import type { MemoryState } from './memory-state.js';

/**
 * What is there under the keys that were named. One that was not named throws: an engine that is a
 * round trip away would not have it.
 */
export class MemorySnapshot implements Snapshot {
  readonly #state: MemoryState;
  readonly #keys: Keys;

  constructor(state: MemoryState, keys: Keys) {
    this.#state = state;
    this.#keys = keys;
  }

  get lastOrder(): number {
    return Math.max(0, ...this.#state.orders.keys());
  }

  get head(): ChainHead {
    return this.#state.head;
  }

  node(idI: number): Versioned<NodeRow> | undefined {
    requireNamed(this.#keys.nodes, idI);
    return versioned(this.#state.nodes.get(idI));
  }

  controller(idC: number): Versioned<ControllerRow> | undefined {
    if (!this.#isOfNamedNode(({ controller }) => controller === idC)) requireNamed(this.#keys.controllers, idC);
    return versioned(this.#state.controllers.get(idC));
  }

  order(number: number): Versioned<OrderRow> | undefined {
    if (!this.#isOfNamedNode(({ order }) => order === number)) requireNamed(this.#keys.orders, number);
    return versioned(this.#state.orders.get(number));
  }

  nodeDescription(idI: number): NodeDescription | undefined {
    requireNamed(this.#keys.nodeDescriptions, idI);
    return this.#state.nodeDescriptions.get(idI);
  }

  recentInitialKeys(idI: number): readonly RecentInitialKey[] {
    requireNamed(this.#keys.recentInitialKeys, idI);
    return this.#state.recentInitialKeys.get(idI) ?? [];
  }

  nodeActivity(idI: number): NodeActivity | undefined {
    requireNamed(this.#keys.nodeActivity, idI);
    const { nodes, nodeActivity, unknownNodeActivity } = this.#state;
    return (nodes.has(idI) ? nodeActivity : unknownNodeActivity).get(idI);
  }

  controllerActivity(idC: number): ControllerActivity | undefined {
    requireNamed(this.#keys.controllerActivity, idC);
    return this.#state.controllerActivity.get(idC);
  }

  metadata(name: MetadataName): unknown {
    requireNamed(this.#keys.metadata, name);
    return this.#state.metadata.get(name)?.value;
  }

  metadataVersion(name: MetadataName): Version | undefined {
    requireNamed(this.#keys.metadata, name);
    return this.#state.metadata.get(name);
  }

  /** A node is read with its order and its controller. */
  #isOfNamedNode(isOf: (row: NodeRow) => boolean): boolean {
    const { nodes } = this.#state;
    return (this.#keys.nodes ?? []).some((idI) => {
      const row = nodes.get(idI);
      return row !== undefined && isOf(row);
    });
  }
}

function requireNamed<K>(keys: readonly K[] = [], key: K): void {
  if (!keys.includes(key)) throw new RangeError(`${String(key)} is not among the keys of this read or write`);
}

/** A row is replaced as a whole, so that it is its own version. */
function versioned<R extends object>(row: R | undefined): Versioned<R> | undefined {
  return row && { row, version: row };
}
