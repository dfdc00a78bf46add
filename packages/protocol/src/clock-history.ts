/**
 * Which times the clock of the servers of one registry showed, and which of them lie behind a
 * break: a step back, or a start of which nobody knows how much time had passed.
 *
 * Why. A node may drop a candidate 300 s after it was stored, so no M7 may be committed that long
 * after the M3 of its transaction. M3 is given while TS lies within 30 s of the server's clock;
 * while that clock is not set back, the window of M7 then ends after 125 s. Once it was set back,
 * it comes by the times it has shown again, and an M7 from then, however long kept, passes for a
 * new one. So no M3 is given at a time that is not kept here, durably, and no M7 is committed whose
 * TS fits an M3 from before a break. How far the clock was set back, how often, and what the
 * controllers' clocks did meanwhile makes no difference.
 */

import type { Clocks } from './decisions.js';
import { TS_WINDOW } from './constants.js';

/** Both ends belong to it; ms since the epoch. */
export interface TimeRange {
  readonly from: number;
  readonly until: number;
}

export interface ClockHistory {
  /**
   * Shown since the last break, or about to be: ascending, apart from each other. More than one
   * where the clock was set forward.
   */
  readonly current: readonly TimeRange[];
  /** Shown before it. */
  readonly previous: readonly TimeRange[];
  /** The clocks when that was last written. */
  readonly savedAt?: Clocks | undefined;
  /** When a step back was last noticed, by the monotonic clock of `savedAt`. */
  readonly steppedBackAt?: number | undefined;
}

export const EMPTY_HISTORY: ClockHistory = { current: [], previous: [] };

/**
 * How far ahead of the clock a time is kept, and what must be left of that where it is not kept
 * anew, in ms.
 */
export const RESERVE_AHEAD_MS = 60_000;
const EXTEND_BELOW_MS = 30_000;
/** What lies between two spans that are no further apart than this counts as shown, in ms. */
const MERGE_GAP_MS = 60_000;
/**
 * Of more than this the two that are next to each other become one, as if all between had been
 * shown.
 */
const MAX_RANGES = 8;

/** Whether an M3 may be given at this time. */
export function isCovered({ current }: ClockHistory, wallMs: number): boolean {
  return current.some(({ from, until }) => from <= wallMs && wallMs <= until);
}

/** The latest time that was shown since the last break, or is about to be. */
export function latestCovered({ current }: ClockHistory): number | undefined {
  return current.at(-1)?.until;
}

/** Whether it is time to keep this time. */
export function needsExtension(history: ClockHistory, wallMs: number): boolean {
  return !isCovered(history, wallMs) || !isCovered(history, wallMs + EXTEND_BELOW_MS);
}

/** With this time and what follows on it. */
export function extendTo(history: ClockHistory, now: Clocks): ClockHistory {
  return { ...addRange(history, rangeAhead(now.wallMs)), savedAt: now };
}

export function addRange(history: ClockHistory, range: TimeRange): ClockHistory {
  return { ...history, current: mergeRanges([...history.current, range]) };
}

/** After a break. */
export function afterDiscontinuity(
  { previous, current }: ClockHistory,
  now: Clocks,
  steppedBackAt: number | undefined,
): ClockHistory {
  return { previous: mergeRanges([...previous, ...current]), current: [rangeAhead(now.wallMs)], savedAt: now, steppedBackAt };
}

/** The span before a break that an M7 with this TS may be from. */
export function findPreviousRange({ previous }: Pick<ClockHistory, 'previous'>, ts: number): TimeRange | undefined {
  return previous.find(({ from, until }) => ts >= from - TS_WINDOW.M2.back && ts <= until + TS_WINDOW.M2.ahead);
}

/**
 * From when on an M7 with a TS of now is committed again, by the clock that shows `wallMs`;
 * `undefined`: it is.
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

/** The place of the span that is nearest to the next. */
function closestPair(ranges: readonly TimeRange[]): number {
  const gaps = ranges.slice(1).map(({ from }, i) => from - (ranges[i]?.until ?? from));
  return gaps.indexOf(Math.min(...gaps));
}

function mergePair(ranges: readonly TimeRange[], i: number): TimeRange[] {
  const [one, next] = [ranges[i], ranges[i + 1]];
  return one === undefined || next === undefined ? [] : [{ from: one.from, until: next.until }];
}
