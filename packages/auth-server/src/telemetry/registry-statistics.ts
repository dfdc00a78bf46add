/**
 * How many nodes and orders there are in each state, for who watches. A registry may have a million
 * nodes, so they are not counted when somebody asks: asking begins a walk through the registry, a
 * few milliseconds of work at a time and long pauses between, and is answered with what the walk
 * before has counted. A small registry is counted at once.
 */

import { Failure } from '@latchkey/runtime/failure';
import { type Log, repeat } from '@latchkey/runtime/daemon';
import { type Metric, type Sample, samples, LabelledCounter } from '@latchkey/runtime/telemetry';
import { nodeState, queryNodes } from '@latchkey/operations';
import { NODE_STATES, type NodeStatus, ORDER_STATES, type OrderStatus } from '@latchkey/operations/contract';
import { orderStatus, type Registry } from '@latchkey/registry';

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
  readonly #log: Log;
  #latest: (StateCounts & { readonly at: number; readonly until: number }) | undefined;
  #scan: { readonly slices: Iterator<void, StateCounts>; readonly stop: () => void } | undefined;

  constructor(registry: Registry, log: Log) {
    this.#registry = registry;
    this.#log = log;
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
    this.#scan?.stop();
    this.#scan = undefined;
  }

  #read(toSamples: (count: StateCounts & { readonly at: number }) => Sample[]): Sample[] {
    if (this.#scan === undefined && performance.now() >= (this.#latest?.until ?? 0)) this.#startScan();
    return this.#latest === undefined ? [] : toSamples(this.#latest);
  }

  #startScan(): void {
    const stop = repeat({ what: 'to count nodes', everyMs: SLICE_PAUSE_MS, log: this.#log, action: () => this.#continueScan() });
    this.#scan = { slices: scan(this.#registry), stop };
    this.#continueScan();
  }

  #continueScan(): void {
    const slice = this.#nextSlice();
    if (slice?.done === false) return;
    this.close();
    if (slice?.done === true) this.#latest = { ...slice.value, at: Date.now(), until: performance.now() + STATISTICS_TTL_MS };
  }

  /** Returns `undefined` if the registry cannot be read: the latest count stays, with its time. */
  #nextSlice(): IteratorResult<void, StateCounts> | undefined {
    try {
      return this.#scan?.slices.next();
    } catch (error) {
      if (error instanceof Failure) return undefined;
      // The walk is over; another one begins when somebody asks again.
      this.close();
      throw error;
    }
  }
}

/** Yields when it has worked for a slice. No read of the store stays open meanwhile. */
function* scan(registry: Registry): Generator<void, StateCounts> {
  const orders = new LabelledCounter<OrderStatus>(ORDER_STATES);
  const nodes = new LabelledCounter<NodeStatus>(NODE_STATES);
  yield* inTimeSlices(
    (from) => registry.orders(from),
    ({ number }) => number,
    (order) => {
      const state = orderStatus(order, Date.now());
      if (state !== undefined) orders.increment(state);
    },
  );
  yield* inTimeSlices(
    (from) => queryNodes(registry, {}, Date.now(), from),
    ({ idI }) => idI,
    (node) => nodes.increment(nodeState(node, Date.now())),
  );
  return { nodes, orders };
}

function* inTimeSlices<R>(
  scanFrom: (from: number) => Iterable<R>,
  keyOf: (row: R) => number,
  count: (row: R) => void,
): Generator<void> {
  for (let from: number | undefined = 0; from !== undefined;) {
    const sliceEnd = performance.now() + TIME_SLICE_MS;
    let next: number | undefined;
    for (const row of scanFrom(from)) {
      if (performance.now() > sliceEnd) {
        next = keyOf(row);
        break;
      }
      count(row);
    }
    from = next;
    if (from !== undefined) yield;
  }
}
