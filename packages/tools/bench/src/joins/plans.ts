/** How much is played of everything. */

import type { Depth } from '../suite.js';

export interface Sizes {
  /** Nodes in each network's registry. */
  readonly nodes: number;
  /** Joins in flight, and joins/s in open loop, that every network is measured at. */
  readonly inFlight: readonly number[];
  readonly rates: readonly number[];
  /** How long one round of one plan takes, in ms. */
  readonly ms: number;
  /**
   * Joins before anything is measured: the compiler is not what is to be compared. A daemon is
   * compiled after some 25,000.
   */
  readonly warmUp: number;
  /** Nodes that begin at once. */
  readonly storm: number;
  readonly stormRounds: number;
  /** In flight, doubling, to find the knee and for the plot. */
  readonly sweep: readonly number[];
  /** With 64 in flight all the time while memory is looked at, in ms. */
  readonly sustainedMs: number;
  /** Durable writes of the store alone. */
  readonly writes: number;
  /** Joins that the protocol alone computes. */
  readonly computed: number;
}

const FULL: Sizes = {
  nodes: 20_000,
  inFlight: [1, 64, 1_024],
  rates: [200, 1_000, 2_000],
  ms: 5_000,
  warmUp: 30_000,
  storm: 10_000,
  stormRounds: 5,
  sweep: [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1_024],
  sustainedMs: 20_000,
  writes: 20_000,
  computed: 20_000,
};

const LONG: Sizes = { ...FULL, sustainedMs: 600_000 };

const QUICK: Sizes = {
  nodes: 5_000,
  inFlight: [1, 64],
  rates: [200],
  ms: 1_200,
  warmUp: 8_000,
  storm: 1_000,
  stormRounds: 1,
  sweep: [],
  sustainedMs: 3_000,
  writes: 2_000,
  computed: 10_000,
};

export function sizesOf(depth: Depth): Sizes {
  return { quick: QUICK, full: FULL, long: LONG }[depth];
}
