/** Times that people type: a date is a whole day, and a time without a zone is local. */

import { InvalidArgumentError } from 'commander';

/** A moment that an option names. */
export interface GivenTime {
  /** ms since the epoch. */
  readonly at: number;
  /**
   * ISO 8601 with the offset of the zone, and the name of a zone that was not typed:
   * `2026-12-24T00:00:00+01:00 (Europe/Berlin)`.
   */
  readonly text: string;
  /** Whether the zone was not typed. */
  readonly local: boolean;
}

const DAY_MS = 86_400_000;
const MINUTE_MS = 60_000;

const DATE = '(?<date>(?:19[7-9]|[2-9]\\d\\d)\\d-\\d\\d-\\d\\d)';
const CLOCK = '(?<clock>(?:[01]\\d|2[0-3]):[0-5]\\d(?::[0-5]\\d(?:\\.\\d{1,3})?)?)';
const ZONE = '(?<zone>Z|[+-](?:[01]\\d|2[0-3]):[0-5]\\d)';
const TIME = new RegExp(`^${DATE}(?:[T ]${CLOCK})?${ZONE}?$`, 'i');

/** Parses the beginning of something: a date is the first millisecond of its day. */
export function startTimeArgument(text: string): GivenTime {
  return timeArgument(text, ([first]) => first);
}

/** Parses the end of something: a date is the last millisecond of its day. */
export function endTimeArgument(text: string): GivenTime {
  return timeArgument(text, ([, last]) => last);
}

/** The option's help ends with these words. */
export const TIME_HELP = 'a date, which is the whole day, or a time; local, unless it ends in Z or +01:00';

/** The local date of a moment, `YYYY-MM-DD`. */
export function formatDate(ms: number): string {
  return isoText(ms, offsetAt(ms)).slice(0, 10);
}

/** A time of ISO 8601 as clocks here show it, with the offset of their zone. */
export function formatLocalTime(iso: string): string {
  const ms = Date.parse(iso);
  const offset = offsetAt(ms);
  return `${isoText(Math.floor(ms / 1000) * 1000, offset).replace('T', ' ')} ${formatOffset(offset)}`;
}

type Day = readonly [first: number, last: number];

function timeArgument(text: string, end: (day: Day) => number): GivenTime {
  const { date, clock, zone } = TIME.exec(text)?.groups ?? {};
  if (date === undefined || !isDate(date)) {
    throw new InvalidArgumentError(
      'expected a date such as 2026-12-24, or a time such as 2026-12-24T18:00, 2026-12-24T18:00Z or 2026-12-24T18:00+01:00',
    );
  }
  if (zone === undefined) {
    const at = clock === undefined ? end(localDay(date)) : localTime(date, clock);
    return { at, text: `${isoText(at, offsetAt(at))}${formatOffset(offsetAt(at))} (${localZone()})`, local: true };
  }
  const midnight = Date.parse(`${date}T00:00${zone.toUpperCase()}`);
  const at = clock === undefined ? end([midnight, midnight + DAY_MS - 1]) : Date.parse(`${date}T${clock}${zone.toUpperCase()}`);
  // The zone says how many minutes lie between its midnight and that of UTC.
  const offset = (Date.parse(`${date}T00:00Z`) - midnight) / MINUTE_MS;
  return { at, text: `${isoText(at, offset)}${/z/i.test(zone) ? 'Z' : formatOffset(offset)}`, local: false };
}

/** `Date.parse` takes the 31st of February for the 3rd of March. */
function isDate(date: string): boolean {
  const ms = Date.parse(`${date}T00:00Z`);
  return !Number.isNaN(ms) && isoText(ms, 0).startsWith(date);
}

/**
 * Clocks are set at midnight in some zones: a day may begin at 01:00, and one has been left out.
 */
function localDay(date: string): Day {
  const first = Date.parse(`${date}T00:00`);
  if (formatDate(first) !== date) throw new InvalidArgumentError(`in ${localZone()} there was no ${date}`);
  const day = new Date(first);
  return [first, new Date(day.getFullYear(), day.getMonth(), day.getDate() + 1).getTime() - 1];
}

/** The one moment at which clocks here show `clock`. */
function localTime(date: string, clock: string): number {
  const utc = Date.parse(`${date}T${clock}Z`);
  // The offset that holds is that of the day before or of the day after.
  const offsets = [...new Set([offsetAt(utc - DAY_MS), offsetAt(utc + DAY_MS)])];
  const [offset, other] = offsets.filter((minutes) => offsetAt(utc - minutes * MINUTE_MS) === minutes);
  const text = `${date}T${clock}`;
  if (offset === undefined)
    throw new InvalidArgumentError(`in ${localZone()} clocks do not show ${text}: they are set forward past it`);
  if (other !== undefined) {
    const both = `${text}${formatOffset(offset)} or ${text}${formatOffset(other)}`;
    throw new InvalidArgumentError(`in ${localZone()} clocks show it twice: write ${both}`);
  }
  return utc - offset * MINUTE_MS;
}

function localZone(): string {
  return Intl.DateTimeFormat().resolvedOptions().timeZone;
}

/** Minutes east of UTC. */
function offsetAt(ms: number): number {
  return -new Date(ms).getTimezoneOffset();
}

/**
 * ISO 8601 as clocks show it `offset` minutes east of UTC; milliseconds only where there are some.
 */
function isoText(ms: number, offset: number): string {
  return new Date(ms + offset * MINUTE_MS).toISOString().replace(/(?:\.000)?Z$/, '');
}

function formatOffset(offset: number): string {
  const digits = (minutes: number): string => String(minutes).padStart(2, '0');
  const minutes = Math.abs(offset);
  return `${offset < 0 ? '-' : '+'}${digits(Math.floor(minutes / 60))}:${digits(minutes % 60)}`;
}
