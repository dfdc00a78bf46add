/** A figure: something measured per something else that was measured in the same run. */

import { ratios, type Summary, summarise } from './statistics.js';

/** What both sides of a ratio are counted in; `n`: things. */
export type Unit = 'us' | 'ms' | 'MiB' | '1/s' | 'octets' | 'n';

/** One side of a ratio, by round. */
export interface Side {
  readonly name: string;
  readonly values: readonly number[];
}

interface Limits {
  /** The median of the ratio must not be above it; for what is better when higher: not below it. */
  readonly limit?: number;
  /** The median of what was measured must not be above it. */
  readonly bound?: number;
}

export interface RatioLimits extends Limits {
  /** What is aimed for: no run fails where it is not reached. */
  readonly target?: Limits;
  /** Rates are; everything else is better when lower. */
  readonly better?: 'higher';
  /** Steady enough for a noisy machine: a run may be failed for it. */
  readonly stable?: true;
}

export interface RatioMetric extends RatioLimits {
  readonly what: string;
  readonly unit: Unit;
  readonly of: { readonly name: string; readonly measured: Summary };
  readonly baseline: { readonly name: string; readonly measured: Summary };
  readonly ratio: Summary;
}

export function ratioMetric(what: string, unit: Unit, of: Side, baseline: Side, rules: RatioLimits = {}): RatioMetric {
  return {
    what,
    unit,
    of: { name: of.name, measured: summarise(of.values) },
    baseline: { name: baseline.name, measured: summarise(baseline.values) },
    ratio: summarise(ratios(of.values, baseline.values)),
    ...rules,
  };
}

/** `undefined` where a figure has neither limit nor bound. */
export function withinLimits(figure: RatioMetric): boolean | undefined {
  return isWithin(figure, figure);
}

/** `undefined` where a figure has no target. */
export function reachesTarget(figure: RatioMetric): boolean | undefined {
  return figure.target && isWithin(figure, figure.target);
}

function isWithin({ of, ratio, better }: RatioMetric, { limit, bound }: Limits): boolean | undefined {
  if (limit === undefined && bound === undefined) return undefined;
  const withinLimit = limit === undefined || (better === 'higher' ? ratio.median >= limit : ratio.median <= limit);
  return withinLimit && (bound === undefined || of.measured.median <= bound);
}
