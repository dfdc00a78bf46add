/** Latency against load: what a plot is made of. */

export interface Point {
  /** Joins a second. */
  readonly perSecond: number;
  /** ms. */
  readonly p50: number;
  readonly p99: number;
  /** How it was loaded, in words. */
  readonly load: string;
}

export interface Series {
  readonly name: string;
  readonly points: readonly Point[];
}

/**
 * Load beyond which more in flight brings less than a tenth more: the first point whose successors
 * all stay within that.
 */
export function knee(points: readonly Point[]): Point | undefined {
  const MIN_GAIN = 1.1;
  return points.find(({ perSecond }, i) => points.slice(i + 1).every((later) => later.perSecond < perSecond * MIN_GAIN));
}
