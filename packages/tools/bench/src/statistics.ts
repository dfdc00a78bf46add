/** Median and spread: a mean would take the neighbours' load for ours. */

export interface Summary {
  readonly median: number;
  /** The lowest and the highest: all of the spread. */
  readonly low: number;
  readonly high: number;
}

/** @param samples at least one */
export function summarise(samples: readonly number[]): Summary {
  const sorted = samples.toSorted((a, b) => a - b);
  const [low, high] = [sorted[0], sorted.at(-1)];
  if (low === undefined || high === undefined) throw new RangeError('nothing was measured');
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? high;
  const median = sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? low) + upper) / 2;
  return { median, low, high };
}

/** `of` over `per`, round by round: what both had to bear in one round cancels out. */
export function ratios(of: readonly number[], per: readonly number[]): number[] {
  if (of.length !== per.length) throw new RangeError('a ratio takes as many rounds of the one as of the other');
  return of.map((value, round) => value / (per[round] ?? Number.NaN));
}
