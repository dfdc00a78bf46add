/**
 * How many nodes and orders there are in each state, for who watches. A registry may have a million
 * nodes, so they are not counted when somebody asks: asking begins a walk through the registry, a
 * few milliseconds of work at a time and long pauses between, and is answered with what the walk
 * before has counted.
 */

import { setTimeout as pause } from 'node:timers/promises';
import { Failure } from '@latchkey/runtime/failure';
import { type Log, RateLimitedLog } from '@latchkey/runtime/daemon';
import { type Metric, type Sample, samples, LabelledCounter } from '@latchkey/runtime/telemetry';
import { NODE_STATES, type NodeStatus, ORDER_STATES, type OrderStatus } from '@latchkey/operations/contract';
import { nodeState, orderStatus, type Registry } from '@latchkey/registry';

/** Work at a time, in ms. */
const TIME_SLICE_MS = 5;
/** The pause after it, in ms: the walk takes at most a fiftieth of one core. */
const SLICE_PAUSE_MS = 245;
/** From the end of a walk to the next, at least, in ms. */
const STATISTICS_TTL_MS = 10_000;

interface StateCounts {
  readonly nodes: LabelledCounter<NodeStatus>;
  readonly orders: LabelledCounter<OrderStatus>;
}

export class RegistryStatistics {
  readonly #registry: Registry;
  readonly #log: RateLimitedLog;
  #latest: (StateCounts & { readonly at: number; readonly until: number }) | undefined;
  #scan: AbortController | undefined;

  constructor(registry: Registry, log: Log) {
    this.#registry = registry;
    this.#log = new RateLimitedLog(log);
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
        name: 'latchkey_nodes_counted_timestamp_seconds',
        help: 'When nodes and orders were last counted',
        read: () => this.#read(({ at }) => [{ value: at / 1000 }]),
      },
    ];
  }

  close(): void {
    this.#scan?.abort();
  }

  #read(toSamples: (count: StateCounts & { readonly at: number }) => Sample[]): Sample[] {
    if (this.#scan === undefined && performance.now() >= (this.#latest?.until ?? 0)) this.#startScan();
    return this.#latest === undefined ? [] : toSamples(this.#latest);
  }

  #startScan(): void {
    const { signal } = (this.#scan = new AbortController());
    void this.#count(signal).finally(() => {
      if (!signal.aborted) this.#scan = undefined;
    });
  }

  async #count(signal: AbortSignal): Promise<void> {
    try {
      const counts = await scan(this.#registry.until(signal), signal);
      this.#latest = { ...counts, at: Date.now(), until: performance.now() + STATISTICS_TTL_MS };
    } catch (error) {
      // If the registry cannot be read, the latest count stays, with its time.
      if (signal.aborted || error instanceof Failure) return;
      this.#log.error('to count nodes', {}, `nodes cannot be counted: ${String(error)}`);
    }
  }
}

async function scan(registry: Registry, signal: AbortSignal): Promise<StateCounts> {
  const orders = new LabelledCounter<OrderStatus>(ORDER_STATES);
  const nodes = new LabelledCounter<NodeStatus>(NODE_STATES);
  for (const order of await registry.orders()) {
    const state = orderStatus(order, Date.now());
    if (state !== undefined) orders.increment(state);
  }
  let sliceEnd = performance.now() + TIME_SLICE_MS;
  for await (const page of registry.nodePages()) {
    for (const node of page) nodes.increment(nodeState(node, Date.now()));
    if (performance.now() < sliceEnd) continue;
    await pause(SLICE_PAUSE_MS, undefined, { signal, ref: false });
    sliceEnd = performance.now() + TIME_SLICE_MS;
  }
  return { nodes, orders };
}
