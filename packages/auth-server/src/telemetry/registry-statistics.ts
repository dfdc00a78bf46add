/**
 * Counts for metrics: nodes and orders by state, entries in the audit log. The storage engine
 * counts: LMDB from an index that follows the audit log, PostgreSQL in SQL. A scrape waits for
 * nothing. It begins a count, and is answered with the latest one.
 */

import { Failure } from '@latchkey/runtime/failure';
import { type Log, RateLimitedLog } from '@latchkey/runtime/daemon';
import { type Metric, type Sample, samples, LabelledCounter } from '@latchkey/runtime/telemetry';
import { NODE_STATES, type NodeStatus, ORDER_STATES, type OrderStatus } from '@latchkey/operations/contract';
import { orderStatus, type Registry } from '@latchkey/registry';

/** From the end of a count to the next, at least, in ms. */
const STATISTICS_TTL_MS = 10_000;
/** And as many times as long as the count took: a database counts for a fiftieth of the time. */
const REST_PER_COUNT = 49;
/** But no longer than this, in ms. */
const MAX_REST_MS = 60_000;

interface Counts {
  readonly nodes: LabelledCounter<NodeStatus>;
  readonly orders: LabelledCounter<OrderStatus>;
  readonly auditEntries: number;
}

export class RegistryStatistics {
  readonly #registry: Registry;
  readonly #log: RateLimitedLog;
  #latest: (Counts & { readonly at: number; readonly until: number }) | undefined;
  #counting: AbortController | undefined;

  constructor(registry: Registry, log: Log) {
    this.#registry = registry;
    this.#log = new RateLimitedLog(log);
    registry.onlyCount();
  }

  metrics(): Metric[] {
    return [
      {
        type: 'gauge',
        name: 'latchkey_nodes',
        help: 'Nodes by state, as `node list` has them; expiring: those that should have renewed their key by now',
        labels: ['state'],
        read: () => this.#read((count) => samples('state', count.nodes)),
      },
      {
        type: 'gauge',
        name: 'latchkey_orders',
        help: 'Orders and imports by state, as `order list` has them',
        labels: ['state'],
        read: () => this.#read((count) => samples('state', count.orders)),
      },
      {
        type: 'gauge',
        name: 'latchkey_audit_entries',
        help: 'Entries in the audit log',
        read: () => this.#read(({ auditEntries }) => [{ value: auditEntries }]),
      },
      {
        type: 'gauge',
        name: 'latchkey_nodes_counted_timestamp_seconds',
        help: 'When nodes, orders and entries of the audit log were last counted',
        read: () => this.#read(({ at }) => [{ value: at / 1000 }]),
      },
    ];
  }

  close(): void {
    this.#counting?.abort();
  }

  #read(toSamples: (count: Counts & { readonly at: number }) => Sample[]): Sample[] {
    if (this.#counting === undefined && performance.now() >= (this.#latest?.until ?? 0)) this.#startCount();
    return this.#latest === undefined ? [] : toSamples(this.#latest);
  }

  #startCount(): void {
    const { signal } = (this.#counting = new AbortController());
    void this.#count(signal).finally(() => {
      if (!signal.aborted) this.#counting = undefined;
    });
  }

  async #count(signal: AbortSignal): Promise<void> {
    const since = performance.now();
    try {
      const counts = await countAll(this.#registry.until(signal));
      const ended = performance.now();
      const rest = Math.max(STATISTICS_TTL_MS, Math.min(MAX_REST_MS, REST_PER_COUNT * (ended - since)));
      this.#latest = { ...counts, at: Date.now(), until: ended + rest };
    } catch (error) {
      // If the registry cannot be read, the latest count stays, with its time.
      if (signal.aborted || error instanceof Failure) return;
      this.#log.error('to count nodes', {}, `nodes cannot be counted: ${String(error)}`);
    }
  }
}

async function countAll(registry: Registry): Promise<Counts> {
  const { wallMs } = registry.clock();
  const orders = new LabelledCounter<OrderStatus>(ORDER_STATES);
  const nodes = new LabelledCounter<NodeStatus>(NODE_STATES);
  for (const order of await registry.orders()) {
    const state = orderStatus(order, wallMs);
    if (state !== undefined) orders.increment(state);
  }
  for (const [state, tally] of await registry.nodeCounts({}, wallMs, 'state')) nodes.increment(state, tally.nodes);
  return { nodes, orders, auditEntries: await registry.storage.audit.length };
}
