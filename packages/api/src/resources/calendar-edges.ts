/** The days and weeks of a calendar, in a time zone: a day has 23 hours where clocks are set. */

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

export function isTimeZone(name: string): boolean {
  try {
    return new Intl.DateTimeFormat('en', { timeZone: name }).resolvedOptions().timeZone !== '';
  } catch {
    return false;
  }
}

/**
 * Returns where each of `count` days or weeks begins, and where the last one ends, in ms since the
 * epoch. The first one has `now`. A week begins on Monday.
 */
export function calendarEdges(now: number, timeZone: string, by: 'day' | 'week', count: number): number[] {
  const clock = new LocalClock(timeZone);
  const { year, month, day, weekday } = clock.read(now);
  const first = by === 'day' ? day : day - ((weekday + 6) % 7);
  const step = by === 'day' ? 1 : 7;
  return Array.from({ length: count + 1 }, (_, at) => clock.startOf(Date.UTC(year, month, first + step * at)));
}

/** Clocks of a time zone. Local dates are midnight of that date in UTC. */
class LocalClock {
  readonly #format: Intl.DateTimeFormat;

  constructor(timeZone: string) {
    const numeric = 'numeric';
    this.#format = new Intl.DateTimeFormat('en-US', {
      timeZone,
      hourCycle: 'h23',
      year: numeric,
      month: numeric,
      day: numeric,
      hour: numeric,
      minute: numeric,
      second: numeric,
    });
  }

  read(time: number): { readonly year: number; readonly month: number; readonly day: number; readonly weekday: number } {
    const local = new Date(time + this.#offsetAt(time));
    return { year: local.getUTCFullYear(), month: local.getUTCMonth(), day: local.getUTCDate(), weekday: local.getUTCDay() };
  }

  /**
   * Returns the first moment of a date. If clocks change at midnight, the date may begin at 1:00.
   */
  startOf(date: number): number {
    const candidates = [date - DAY_MS, date + DAY_MS].map((near) => date - this.#offsetAt(near)).toSorted((a, b) => a - b);
    return candidates.find((time) => time + this.#offsetAt(time) >= date) ?? candidates[0] ?? date;
  }

  #offsetAt(time: number): number {
    const parts = Object.fromEntries(this.#format.formatToParts(time).map(({ type, value }) => [type, Number(value)]));
    const { year = 0, month = 1, day = 1, hour = 0, minute = 0, second = 0 } = parts;
    return Date.UTC(year, month - 1, day, hour, minute, second) - Math.floor(time / 1_000) * 1_000;
  }
}
