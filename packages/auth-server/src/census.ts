/**
 * How many nodes and orders there are in each state, for who watches. A registry may have a million nodes, so they are not counted when
 * somebody asks: asking begins a walk through the registry, a few milliseconds of work at a time and long pauses between, and is answered
 * with what the walk before has counted. A small registry is counted at once.
 */

import { Failure, type Log, type Metric, repeat, type Sample, samples, LabelledCounter } from '@latchkey/runtime';
import { NODE_STATES, type NodeStatus, stateOf } from './node-view.js';
import { ORDER_STATES, orderStateOf, type OrderStatus } from './order-state.js';
import type { Registry } from './registry.js';

/** Work at a time, in ms. */
const SLICE_MS = 5;
/** The pause after it, in ms: the walk takes at most a fiftieth of one core. */
const PAUSE_MS = 245;
/** From the end of a walk to the next, at least, in ms. */
const GOOD_FOR_MS = 10_000;

interface Count {
  readonly nodes: LabelledCounter<NodeStatus>;
  readonly orders: LabelledCounter<OrderStatus>;
}

export class Census {
  readonly #registry: Registry;
  readonly #log: Log;
  #latest: (Count & { readonly at: number; readonly until: number }) | undefined;
  #walk: { readonly slices: Iterator<void, Count>; readonly stop: () => void } | undefined;

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
    this.#walk?.stop();
    this.#walk = undefined;
  }

  #read(tell: (count: Count & { readonly at: number }) => Sample[]): Sample[] {
    if (this.#walk === undefined && performance.now() >= (this.#latest?.until ?? 0)) this.#begin();
    return this.#latest === undefined ? [] : tell(this.#latest);
  }

  #begin(): void {
    const stop = repeat({ what: 'to count nodes', everyMs: PAUSE_MS, log: this.#log, action: () => this.#goOn() });
    this.#walk = { slices: walk(this.#registry), stop };
    this.#goOn();
  }

  #goOn(): void {
    const slice = this.#nextSlice();
    if (slice?.done === false) return;
    this.close();
    if (slice?.done === true) this.#latest = { ...slice.value, at: Date.now(), until: performance.now() + GOOD_FOR_MS };
  }

  /** Returns `undefined` if the registry cannot be read: the latest count stays, with its time. */
  #nextSlice(): IteratorResult<void, Count> | undefined {
    try {
      return this.#walk?.slices.next();
    } catch (error) {
      if (error instanceof Failure) return undefined;
      // The walk is over; another one begins when somebody asks again.
      this.close();
      throw error;
    }
  }
}

/** Yields when it has worked for a slice. No read of the store stays open meanwhile. */
function* walk(registry: Registry): Generator<void, Count> {
  const orders = new LabelledCounter<OrderStatus>(ORDER_STATES);
  const nodes = new LabelledCounter<NodeStatus>(NODE_STATES);
  yield* inSlices(
    (from) => registry.orders(from),
    ({ number }) => number,
    (order) => {
      const state = orderStateOf(order, Date.now());
      if (state !== undefined) orders.increment(state);
    },
  );
  yield* inSlices(
    (from) => registry.nodes(from),
    ({ idI }) => idI,
    (node) => nodes.increment(stateOf(node, Date.now())),
  );
  return { nodes, orders };
}

function* inSlices<R>(
  rowsFrom: (from: number) => Iterable<R>,
  keyOf: (row: R) => number,
  count: (row: R) => void,
): Generator<void> {
  for (let from: number | undefined = 0; from !== undefined;) {
    const until = performance.now() + SLICE_MS;
    let next: number | undefined;
    for (const row of rowsFrom(from)) {
      if (performance.now() > until) {
        next = keyOf(row);
        break;
      }
      count(row);
    }
    from = next;
    if (from !== undefined) yield;
  }
}
