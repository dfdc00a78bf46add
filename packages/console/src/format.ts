/** Times, durations and numbers in the reader's language and time zone. */

export interface Locale {
  readonly language: string;
  /** IANA name; `undefined` is the zone of the browser. */
  readonly timeZone: string | undefined;
}

const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

const UNITS: readonly (readonly [Intl.RelativeTimeFormatUnit & ('second' | 'minute' | 'hour' | 'day'), number])[] = [
  ['day', DAY],
  ['hour', HOUR],
  ['minute', MINUTE],
  ['second', SECOND],
];
/** From so many of a unit on, that unit is used: 36 hours are hours, and 3 days are days. */
const MIN_OF_UNIT = { day: 2, hour: 1, minute: 1, second: 0 } as const;

const formats = new Map<string, Intl.DateTimeFormat | Intl.NumberFormat | Intl.RelativeTimeFormat>();

/** Making a format takes longer than using it. Bounded by the languages, zones and styles here. */
function cached<F extends Intl.DateTimeFormat | Intl.NumberFormat | Intl.RelativeTimeFormat>(key: string, make: () => F): F {
  const found = formats.get(key);
  if (found !== undefined) return found as F;
  const made = make();
  formats.set(key, made);
  return made;
}

let zone: string | undefined;

/** Of the browser, an IANA name. */
export function browserZone(): string {
  return (zone ??= Intl.DateTimeFormat().resolvedOptions().timeZone);
}

/** "3 min. ago", "in 12 days", "now". */
export function formatRelative(time: number, now: number, { language }: Locale): string {
  const distance = time - now;
  const size = Math.abs(distance);
  const [unit, ms] = UNITS.find(([name, length]) => size >= length * MIN_OF_UNIT[name]) ?? ['second', SECOND];
  const format = cached(`relative ${language}`, () => new Intl.RelativeTimeFormat(language, { numeric: 'auto', style: 'short' }));
  return format.format(Math.trunc(distance / ms), unit);
}

/** "Sun, 29 Nov 2026". */
export function formatDay(time: number, { language, timeZone }: Locale): string {
  const format = cached(
    `day ${language} ${timeZone ?? ''}`,
    () =>
      new Intl.DateTimeFormat(language === 'en' ? 'en-GB' : language, {
        weekday: 'short',
        day: 'numeric',
        month: 'short',
        year: 'numeric',
        timeZone,
      }),
  );
  return format.format(time);
}

/** "29 Nov 2026, 14:02". */
export function formatMinute(time: number, { language, timeZone }: Locale): string {
  const format = cached(
    `minute ${language} ${timeZone ?? ''}`,
    () =>
      new Intl.DateTimeFormat(language === 'en' ? 'en-GB' : language, {
        dateStyle: 'medium',
        timeStyle: 'short',
        timeZone,
      }),
  );
  return format.format(time);
}

/** "29 Nov 2026, 14:02:11 CET". */
export function formatAbsolute(time: number, { language, timeZone }: Locale): string {
  const format = cached(
    `absolute ${language} ${timeZone ?? ''}`,
    () =>
      new Intl.DateTimeFormat(language === 'en' ? 'en-GB' : language, {
        day: 'numeric',
        month: 'short',
        year: 'numeric',
        hour: '2-digit',
        minute: '2-digit',
        second: '2-digit',
        hourCycle: 'h23',
        timeZoneName: 'short',
        timeZone,
      }),
  );
  return format.format(time);
}

export function formatNumber(value: number, { language }: Locale): string {
  return cached(`number ${language}`, () => new Intl.NumberFormat(language)).format(value);
}

/** "12.5%". One of many is not 0 %, and all but one are not 100 %. */
export function formatShare(part: number, total: number, { language }: Locale): string {
  const format = cached(
    `share ${language}`,
    () => new Intl.NumberFormat(language, { style: 'percent', maximumFractionDigits: 1 }),
  );
  const [least, most] = [0.001, 0.999];
  const share = part / total;
  if (part > 0 && share < least) return `< ${format.format(least)}`;
  if (part < total && share > most) return `> ${format.format(most)}`;
  return format.format(share);
}

/** "90 days", "36 hours": the largest unit that gives a whole number. */
export function formatDuration(seconds: number, { language }: Locale): string {
  const [unit, ms] = UNITS.find(([, length]) => seconds > 0 && (seconds * SECOND) % length === 0) ?? ['second', SECOND];
  const format = cached(
    `duration ${language} ${unit}`,
    () => new Intl.NumberFormat(language, { style: 'unit', unit, unitDisplay: 'long' }),
  );
  return format.format((seconds * SECOND) / ms);
}
