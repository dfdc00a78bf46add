// Proves that a date means the whole day where the reader is, that a time without a zone is local,
// and that both are echoed with the zone.

import * as fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { startTimeArgument, formatDate, endTimeArgument } from '../src/cli/time.js';

let zoneBefore: string | undefined;
beforeEach(() => (zoneBefore = process.env['TZ']));
afterEach(() => {
  if (zoneBefore === undefined) delete process.env['TZ'];
  else process.env['TZ'] = zoneBefore;
});

const iso = (ms: number): string => new Date(ms).toISOString();

describe.each([
  ['Europe/Berlin', '2026-12-24', '2026-12-23T23:00:00.000Z', '2026-12-24T22:59:59.999Z', '+01:00'],
  ['Asia/Seoul', '2026-12-24', '2026-12-23T15:00:00.000Z', '2026-12-24T14:59:59.999Z', '+09:00'],
  ['America/St_Johns', '2026-12-24', '2026-12-24T03:30:00.000Z', '2026-12-25T03:29:59.999Z', '-03:30'],
  ['UTC', '2026-12-24', '2026-12-24T00:00:00.000Z', '2026-12-24T23:59:59.999Z', '+00:00'],
  // A day of 23 hours, one of 25, one that begins at 01:00, and one whose first hour comes twice.
  ['Europe/Berlin', '2026-03-29', '2026-03-28T23:00:00.000Z', '2026-03-29T21:59:59.999Z', '+01:00'],
  ['Europe/Berlin', '2026-10-25', '2026-10-24T22:00:00.000Z', '2026-10-25T22:59:59.999Z', '+02:00'],
  ['Africa/Cairo', '2026-04-24', '2026-04-23T22:00:00.000Z', '2026-04-24T20:59:59.999Z', '+03:00'],
  ['America/Havana', '2026-11-01', '2026-11-01T04:00:00.000Z', '2026-11-02T04:59:59.999Z', '-04:00'],
])('in %s the date %s', (zone, date, first, last, offset) => {
  it(`is from ${first} to ${last}`, () => {
    process.env['TZ'] = zone;
    const [from, until] = [startTimeArgument(date), endTimeArgument(date)];
    expect([iso(from.at), iso(until.at)]).toEqual([first, last]);
    expect(from.text).toMatch(new RegExp(`^${date}T0[01]:00:00\\${offset} \\(${zone}\\)$`));
    expect(until.text).toMatch(new RegExp(`^${date}T23:59:59\\.999[+-]\\d\\d:\\d\\d \\(${zone}\\)$`));
  });
});

describe('a time', () => {
  beforeEach(() => (process.env['TZ'] = 'Europe/Berlin'));

  it.each([
    ['2026-12-24T18:00', '2026-12-24T17:00:00.000Z', '2026-12-24T18:00:00+01:00 (Europe/Berlin)'],
    ['2026-12-24 18:00:05', '2026-12-24T17:00:05.000Z', '2026-12-24T18:00:05+01:00 (Europe/Berlin)'],
    ['2026-07-24T18:00', '2026-07-24T16:00:00.000Z', '2026-07-24T18:00:00+02:00 (Europe/Berlin)'],
    ['2026-12-24T18:00Z', '2026-12-24T18:00:00.000Z', '2026-12-24T18:00:00Z'],
    ['2026-12-24t18:00z', '2026-12-24T18:00:00.000Z', '2026-12-24T18:00:00Z'],
    ['2026-12-24T18:00:01.5-03:30', '2026-12-24T21:30:01.500Z', '2026-12-24T18:00:01.500-03:30'],
  ])('%s is one moment, for a beginning and an end', (text, at, said) => {
    for (const time of [startTimeArgument(text), endTimeArgument(text)]) expect([iso(time.at), time.text]).toEqual([at, said]);
  });

  it.each([
    ['2026-12-24Z', '2026-12-24T00:00:00Z', '2026-12-24T23:59:59.999Z'],
    ['2026-12-24+09:00', '2026-12-24T00:00:00+09:00', '2026-12-24T23:59:59.999+09:00'],
  ])('%s is the whole day in the zone that it says', (text, first, last) => {
    expect([startTimeArgument(text).text, endTimeArgument(text).text]).toEqual([first, last]);
    expect([startTimeArgument(text).at, endTimeArgument(text).at]).toEqual([Date.parse(first), Date.parse(last)]);
  });

  it('that clocks pass over is refused, and so is one that they show twice, with both ways to say it', () => {
    expect(() => startTimeArgument('2026-03-29T02:30')).toThrow(
      'in Europe/Berlin clocks do not show 2026-03-29T02:30: they are set forward',
    );
    expect(() => endTimeArgument('2026-10-25T02:30')).toThrow(
      'in Europe/Berlin clocks show it twice: write 2026-10-25T02:30+02:00 or 2026-10-25T02:30+01:00',
    );
    expect(endTimeArgument('2026-10-25T02:30+02:00').at).toBe(endTimeArgument('2026-10-25T02:30+01:00').at - 3_600_000);
  });

  it('is refused on a day that was left out', () => {
    process.env['TZ'] = 'Pacific/Apia';
    for (const read of [startTimeArgument, endTimeArgument])
      expect(() => read('2011-12-30')).toThrow('in Pacific/Apia there was no 2011-12-30');
  });

  it.each([
    '',
    'tomorrow',
    '2026-13-01',
    '2026-02-31',
    '2027-02-29',
    '1926-12-01',
    '2026-12-01T8:00',
    '2026-12-01T24:00',
    '2026-12-01T08:60',
    '2026-12-01T08:00+25:00',
    '2026-12-01T08:00 (Europe/Berlin)',
    '2026-12-01T',
    '01.12.2026',
    '12/24/2026',
    '1795000000000',
  ])('is not "%s"', (text) => {
    for (const read of [startTimeArgument, endTimeArgument])
      expect(() => read(text)).toThrow('expected a date such as 2026-12-24, or a time such as 2026-12-24T18:00');
  });

  it('is read back from its echo as the same moment, in any zone and season', () => {
    const zone = fc.constantFrom('Europe/Berlin', 'Asia/Kathmandu', 'America/Sao_Paulo', 'Australia/Lord_Howe', 'UTC');
    const day = fc.integer({ min: Date.UTC(1990, 0), max: Date.UTC(2099, 0) }).map((ms) => iso(ms).slice(0, 10));
    fc.assert(
      fc.property(zone, day, (zone, date) => {
        process.env['TZ'] = zone;
        const [from, until] = [startTimeArgument(date), endTimeArgument(date)];
        for (const { at, text } of [from, until]) {
          expect(startTimeArgument(text.replace(/ .*$/, '')).at).toBe(at);
          expect(formatDate(at)).toBe(date);
        }
        const hours = (until.at + 1 - from.at) / 3_600_000;
        expect(hours).toBeGreaterThanOrEqual(23);
        expect(hours).toBeLessThanOrEqual(25);
        // The day before ends where this one begins.
        expect(formatDate(from.at - 1) < date && formatDate(until.at + 1) > date).toBe(true);
      }),
    );
  });
});
