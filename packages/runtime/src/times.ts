/**
 * Which times the clock of the servers of one registry showed, and which of them lie behind a break: a step back, or a start of which nobody
 * knows how much time had passed.
 *
 * Why. A node may drop a candidate 300 s after it was stored, so no M7 may be committed that long after the M3 of its transaction. M3 is given
 * while TS lies within 30 s of the server's clock; while that clock is not set back, the window of M7 then ends after 125 s. Once it was
 * set back, it comes by the times it has shown again, and an M7 from then, however long kept, passes for a new one. So no M3 is given at a time that
 * is not kept here, durably, and no M7 is committed whose TS fits an M3 from before a break. How far the clock was set back, how often, and
 * what the controllers' clocks did meanwhile makes no difference.
 */

import { type Clocks, TS_WINDOW } from '@latchkey/protocol';

/** Both ends belong to it; ms since the epoch. */
export interface Span {
  readonly from: number;
  readonly until: number;
}

export interface Times {
  /** Shown since the last break, or about to be: ascending, apart from each other. More than one where the clock was set forward. */
  readonly shown: readonly Span[];
  /** Shown before it. */
  readonly past: readonly Span[];
  /** The clocks when that was last written. */
  readonly kept?: Clocks | undefined;
  /** When a step back was last noticed, by the monotonic clock of `kept`. */
  readonly setBackAt?: number | undefined;
}

export const NO_TIMES: Times = { shown: [], past: [] };

/** How far ahead of the clock a time is kept, and what must be left of that where it is not kept anew, in ms. */
export const KEPT_AHEAD_MS = 60_000;
const KEPT_AGAIN_MS = 30_000;
/** What lies between two spans that are no further apart than this counts as shown, in ms. */
const NO_GAP_MS = 60_000;
/** Of more than this the two that are next to each other become one, as if all between had been shown. */
const MAX_SPANS = 8;

/** Whether an M3 may be given at this time. */
export function isKept({ shown }: Times, wall: number): boolean {
  return shown.some(({ from, until }) => from <= wall && wall <= until);
}

/** The latest time that was shown since the last break, or is about to be. */
export function lastShown({ shown }: Times): number | undefined {
  return shown.at(-1)?.until;
}

/** Whether it is time to keep this time. */
export function isDue(times: Times, wall: number): boolean {
  return !isKept(times, wall) || !isKept(times, wall + KEPT_AGAIN_MS);
}

/** With this time and what follows on it. */
export function withTime(times: Times, now: Clocks): Times {
  return { ...withSpan(times, ahead(now.wallMs)), kept: now };
}

export function withSpan(times: Times, span: Span): Times {
  return { ...times, shown: joined([...times.shown, span]) };
}

/** After a break. */
export function afterBreak({ past, shown }: Times, now: Clocks, setBackAt: number | undefined): Times {
  return { past: joined([...past, ...shown]), shown: [ahead(now.wallMs)], kept: now, setBackAt };
}

/** The span before a break that an M7 with this TS may be from. */
export function pastOf({ past }: Pick<Times, 'past'>, ts: number): Span | undefined {
  return past.find(({ from, until }) => ts >= from - TS_WINDOW.M2.back && ts <= until + TS_WINDOW.M2.ahead);
}

/** From when on an M7 with a TS of now is committed again, by the clock that shows `wall`; `undefined`: it is. */
export function refusedUntil(times: Pick<Times, 'past'>, wall: number): number | undefined {
  const span = pastOf(times, wall);
  return span && span.until + TS_WINDOW.M2.ahead;
}

function ahead(wall: number): Span {
  return { from: wall, until: wall + KEPT_AHEAD_MS };
}

function joined(spans: readonly Span[]): Span[] {
  const all: Span[] = [];
  for (const span of spans.toSorted((a, b) => a.from - b.from)) {
    const last = all.at(-1);
    if (last !== undefined && span.from <= last.until + NO_GAP_MS)
      all[all.length - 1] = { from: last.from, until: Math.max(last.until, span.until) };
    else all.push(span);
  }
  while (all.length > MAX_SPANS) all.splice(nearest(all), 2, ...both(all, nearest(all)));
  return all;
}

/** The place of the span that is nearest to the next. */
function nearest(spans: readonly Span[]): number {
  const gaps = spans.slice(1).map(({ from }, i) => from - (spans[i]?.until ?? from));
  return gaps.indexOf(Math.min(...gaps));
}

function both(spans: readonly Span[], i: number): Span[] {
  const [one, next] = [spans[i], spans[i + 1]];
  return one === undefined || next === undefined ? [] : [{ from: one.from, until: next.until }];
}
