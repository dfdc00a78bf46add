/** A figure: something measured per something else that was measured in the same run. */

import { ratios, type Summary, summarise } from './statistics.js';

/** What both sides of a ratio are counted in. */
export type Unit = 'us' | 'ms' | 'MiB' | '1/s';

/** One side of a ratio, by round. */
export interface Side {
  readonly name: string;
  readonly values: readonly number[];
}

export interface Figure {
  readonly what: string;
  readonly unit: Unit;
  readonly of: { readonly name: string; readonly measured: Summary };
  readonly per: { readonly name: string; readonly measured: Summary };
  readonly ratio: Summary;
  /** The median of the ratio must not be above it. */
  readonly limit?: number;
}

export function figure(what: string, unit: Unit, of: Side, per: Side, limit?: number): Figure {
  return {
    what,
    unit,
    of: { name: of.name, measured: summarise(of.values) },
    per: { name: per.name, measured: summarise(per.values) },
    ratio: summarise(ratios(of.values, per.values)),
    ...(limit === undefined ? {} : { limit }),
  };
}

/** `undefined` where a figure has no limit. */
export function holds({ ratio, limit }: Figure): boolean | undefined {
  return limit === undefined ? undefined : ratio.median <= limit;
}
