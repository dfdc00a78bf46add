/**
 * History of the wall clock that all servers of a registry share: the time ranges shown since the
 * last discontinuity, and those shown before it. A discontinuity is a backward step, or a start
 * after an unknown downtime.
 *
 * Why. A node may drop a candidate 300 s after it was stored, so no M7 may be committed that long
 * after the M3 of its transaction. M3 is given while TS lies within 30 s of the server's clock. If
 * that clock is never set back, the window of M7 ends after 125 s. After a backward step the clock
 * repeats earlier times, so a delayed M7 from the first pass would look fresh. Therefore no M3 is
 * given at a time that is not stored here durably, and no M7 is committed whose TS fits an M3 from
 * before a discontinuity. This holds for any number and size of steps, and for any behaviour of the
 * controllers' clocks.
 */

import type { Clocks } from './decisions.js';
import { TS_WINDOW } from './constants.js';

/** A range of times in ms since the epoch, both ends included. */
export interface TimeRange {
  readonly from: number;
  readonly until: number;
}

export interface ClockHistory {
  /**
   * Shown since the last discontinuity, or reserved ahead: ascending and disjoint. More than one
   * range if the clock was set forward.
   */
  readonly current: readonly TimeRange[];
  /** Shown before the last discontinuity. */
  readonly previous: readonly TimeRange[];
  /** The clocks at the last write. */
  readonly savedAt?: Clocks | undefined;
  /** When a step back was last noticed, by the monotonic clock of `savedAt`. */
  readonly steppedBackAt?: number | undefined;
}

export const EMPTY_HISTORY: ClockHistory = { current: [], previous: [] };

/**
 * Times are stored this far ahead of the clock, and again once less than `EXTEND_BELOW_MS` of that
 * is left, in ms.
 */
export const RESERVE_AHEAD_MS = 60_000;
const EXTEND_BELOW_MS = 30_000;
/** A gap between two ranges that is no longer than this counts as shown, in ms. */
const MERGE_GAP_MS = 60_000;
/**
 * Beyond this number the two closest ranges are merged, as if the clock had shown the gap between
 * them.
 */
const MAX_RANGES = 8;

/** Returns whether an M3 may be given at this time. */
export function isCovered({ current }: ClockHistory, wallMs: number): boolean {
  return current.some(({ from, until }) => from <= wallMs && wallMs <= until);
}

/** Returns the latest time that was shown since the last discontinuity, or is reserved ahead. */
export function latestCovered({ current }: ClockHistory): number | undefined {
  return current.at(-1)?.until;
}

/** Returns whether the history must be extended and stored. */
export function needsExtension(history: ClockHistory, wallMs: number): boolean {
  return !isCovered(history, wallMs) || !isCovered(history, wallMs + EXTEND_BELOW_MS);
}

/** Returns the history with this time and the reserve ahead of it. */
export function extendTo(history: ClockHistory, now: Clocks): ClockHistory {
  return { ...addRange(history, rangeAhead(now.wallMs)), savedAt: now };
}

export function addRange(history: ClockHistory, range: TimeRange): ClockHistory {
  return { ...history, current: mergeRanges([...history.current, range]) };
}

/** Returns the history after a discontinuity: all ranges shown so far become previous ones. */
export function afterDiscontinuity(
  { previous, current }: ClockHistory,
  now: Clocks,
  steppedBackAt: number | undefined,
): ClockHistory {
  return { previous: mergeRanges([...previous, ...current]), current: [rangeAhead(now.wallMs)], savedAt: now, steppedBackAt };
}

/** Returns the range before a discontinuity that an M7 with this TS may come from. */
export function findPreviousRange({ previous }: Pick<ClockHistory, 'previous'>, ts: number): TimeRange | undefined {
  return previous.find(({ from, until }) => ts >= from - TS_WINDOW.M2.back && ts <= until + TS_WINDOW.M2.ahead);
}

/**
 * Returns from when on an M7 with a TS of now is committed again, by the clock that shows `wallMs`.
 * Returns `undefined` if it is committed already.
 */
export function rejectedUntil(history: Pick<ClockHistory, 'previous'>, wallMs: number): number | undefined {
  const range = findPreviousRange(history, wallMs);
  return range && range.until + TS_WINDOW.M2.ahead;
}

function rangeAhead(wallMs: number): TimeRange {
  return { from: wallMs, until: wallMs + RESERVE_AHEAD_MS };
}

function mergeRanges(ranges: readonly TimeRange[]): TimeRange[] {
  const all: TimeRange[] = [];
  for (const range of ranges.toSorted((a, b) => a.from - b.from)) {
    const last = all.at(-1);
    if (last !== undefined && range.from <= last.until + MERGE_GAP_MS)
      all[all.length - 1] = { from: last.from, until: Math.max(last.until, range.until) };
    else all.push(range);
  }
  while (all.length > MAX_RANGES) all.splice(closestPair(all), 2, ...mergePair(all, closestPair(all)));
  return all;
}

/** Returns the index of the range with the shortest gap to the next range. */
function closestPair(ranges: readonly TimeRange[]): number {
  const gaps = ranges.slice(1).map(({ from }, i) => from - (ranges[i]?.until ?? from));
  return gaps.indexOf(Math.min(...gaps));
}

function mergePair(ranges: readonly TimeRange[], i: number): TimeRange[] {
  const [one, next] = [ranges[i], ranges[i + 1]];
  return one === undefined || next === undefined ? [] : [{ from: one.from, until: next.until }];
}
