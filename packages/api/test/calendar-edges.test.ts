// Days and weeks of a calendar, where clocks are set.

import { expect, it } from 'vitest';
import { calendarEdges, isTimeZone } from '../src/resources/calendar-edges.js';

const edges = (now: string, zone: string, by: 'day' | 'week', count: number): string[] =>
  calendarEdges(Date.parse(now), zone, by, count).map((edge) => new Date(edge).toISOString().slice(0, 16));

it('a day begins at midnight of the time zone, whatever the length of the day before', () => {
  expect(edges('2026-11-29T23:59:59Z', 'UTC', 'day', 2)).toEqual(['2026-11-29T00:00', '2026-11-30T00:00', '2026-12-01T00:00']);
  // The day of 25 hours, and that of 23.
  expect(edges('2026-10-24T12:00:00Z', 'Europe/Berlin', 'day', 2)).toEqual([
    '2026-10-23T22:00',
    '2026-10-24T22:00',
    '2026-10-25T23:00',
  ]);
  expect(edges('2026-03-28T23:30:00Z', 'Europe/Berlin', 'day', 1)).toEqual(['2026-03-28T23:00', '2026-03-29T22:00']);
  expect(edges('2026-11-29T20:00:00Z', 'Asia/Kolkata', 'day', 1)).toEqual(['2026-11-29T18:30', '2026-11-30T18:30']);
});

it('a day without midnight begins at one, and one with two at the second', () => {
  expect(edges('2026-09-05T12:00:00Z', 'America/Santiago', 'day', 2)).toEqual([
    '2026-09-05T04:00',
    '2026-09-06T04:00',
    '2026-09-07T03:00',
  ]);
  expect(edges('2026-04-04T12:00:00Z', 'America/Santiago', 'day', 2)).toEqual([
    '2026-04-04T03:00',
    '2026-04-05T04:00',
    '2026-04-06T04:00',
  ]);
});

it('a week begins on Monday, also over the end of a year', () => {
  expect(edges('2026-12-27T23:30:00Z', 'Europe/Berlin', 'week', 2)).toEqual([
    '2026-12-27T23:00',
    '2027-01-03T23:00',
    '2027-01-10T23:00',
  ]);
  expect(edges('2026-12-27T22:30:00Z', 'Europe/Berlin', 'week', 1)).toEqual(['2026-12-20T23:00', '2026-12-27T23:00']);
});

it('a time zone has a name that this machine knows', () => {
  expect(['UTC', 'Europe/Berlin', 'America/Santiago'].map(isTimeZone)).toEqual([true, true, true]);
  expect(['', 'Mars', 'Europe/Berlin; x'].map(isTimeZone)).toEqual([false, false, false]);
});
