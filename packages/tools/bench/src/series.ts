/** What plots are made of. */

export interface Point {
  /** Joins a second. */
  readonly perSecond: number;
  /** ms. */
  readonly p50: number;
  readonly p99: number;
  /** How it was loaded, in words. */
  readonly load: string;
}

/** Latency against load. */
export interface Series {
  readonly name: string;
  readonly points: readonly Point[];
}

/** Costs of several things. */
export interface BarChart {
  readonly title: string;
  readonly unit: string;
  /** What the values of each row are. */
  readonly legend: readonly string[];
  readonly rows: readonly { readonly name: string; readonly values: readonly number[] }[];
  /** The values of a row add up. */
  readonly isStacked?: boolean;
}

/**
 * Load beyond which more in flight brings less than a tenth more: the first point whose successors
 * all stay within that.
 */
export function knee(points: readonly Point[]): Point | undefined {
  const MIN_GAIN = 1.1;
  return points.find(({ perSecond }, i) => points.slice(i + 1).every((later) => later.perSecond < perSecond * MIN_GAIN));
}
