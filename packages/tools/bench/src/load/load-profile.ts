/** What a load generator is asked to play, and what it tells of it afterwards. */

/**
 * `join`: M1 to M6 with all their cryptography. `plain`: the same exchanges with octets that mean
 * nothing.
 */
export type Workload = 'join' | 'plain';

/** Where and as whom a generator plays. */
export interface LoadTarget {
  /** HOST:PORT of the controller. */
  readonly to: string;
  readonly workload: Workload;
  /** Nodes of the fleet it plays. */
  readonly nodes: number;
  /** Each on an address of its own in 127.0.0.0/8. */
  readonly sockets: number;
}

export type LoadProfile =
  /** So many nodes at once: one that has joined makes room for the next. */
  | { readonly kind: 'closed'; readonly inFlight: number; readonly ms: number; readonly joins?: number }
  /**
   * Nodes begin when they begin, at so many a second on average (Poisson); latency counts from when
   * one was to begin.
   */
  | { readonly kind: 'open'; readonly perSecond: number; readonly ms: number }
  /** All of `joins` nodes begin at once; each that fails comes again, as a node does. */
  | { readonly kind: 'storm'; readonly joins: number };

/** Times in ms. */
export interface LoadResult {
  /** Joins that were completed. */
  readonly joins: number;
  /** Attempts that were not. In a storm they were made again. */
  readonly failed: number;
  /** From the beginning to the last answer. */
  readonly ms: number;
  /** Joins a second while it was going on: what was still in flight at the end is left out. */
  readonly perSecond: number;
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
  readonly p999: number;
  readonly max: number;
  /** On the node's side, both ways. */
  readonly datagrams: number;
  readonly octets: number;
  readonly retransmissions: number;
  /** Answers that asked for proof of the address. */
  readonly echoes: number;
  /** CPU time of the generator itself. */
  readonly cpuMs: number;
  /** What the failed attempts ended with. */
  readonly failureReasons: Readonly<Record<string, number>>;
}

/** @param sorted ascending; `NaN` of nothing */
export function percentile(sorted: ArrayLike<number>, part: number): number {
  return sorted[Math.min(sorted.length - 1, Math.ceil(sorted.length * part) - 1)] ?? Number.NaN;
}
