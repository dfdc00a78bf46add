// Texts in two languages, times and numbers, and the commands that a diagnosis prints.

import { type Action, type Cause, CAUSES } from '@latchkey/operations/contract';
import { stepsFor as stepsOfCommand } from '@latchkey/operations';
import { formatCommandLine } from '@latchkey/runtime/cli';
import { describe, expect, it } from 'vitest';
import { commandText, stepsFor } from '../src/action-steps.js';
import { formatAbsolute, formatDuration, formatNumber, formatRelative, formatShare } from '../src/format.js';
import { ADMINISTRATION_STRINGS } from '../src/strings/administration.js';
import { BULK_STRINGS } from '../src/strings/bulk.js';
import { DIAGNOSIS_STRINGS } from '../src/strings/diagnosis.js';
import { fill, type Pair, type StringKey, templateOf, textOf } from '../src/strings/index.js';
import { INSTALL_STRINGS } from '../src/strings/install.js';
import { ORDERING_STRINGS } from '../src/strings/ordering.js';
import { PAGE_STRINGS } from '../src/strings/pages.js';
import { SHELL_STRINGS } from '../src/strings/shell.js';

/** Texts of the first page, and those that come with other pages. */
const FIRST = { ...SHELL_STRINGS, ...PAGE_STRINGS, ...DIAGNOSIS_STRINGS, ...ORDERING_STRINGS, ...BULK_STRINGS };
const LATER = { ...ADMINISTRATION_STRINGS, ...INSTALL_STRINGS };
const STRINGS: Readonly<Record<StringKey, Pair>> = { ...FIRST, ...LATER };

const KEYS = Object.keys(STRINGS) as StringKey[];
const placesOf = (text: string): readonly string[] => [
  ...new Set(templateOf(text).flatMap((part) => (typeof part === 'string' ? [] : [part.place]))),
];

describe('each text', () => {
  it('is there in English and in German, with the same places', () => {
    expect(KEYS.length).toBeGreaterThan(200);
    const wrong = KEYS.filter((key) => {
      const [english, german] = STRINGS[key];
      return (
        english.trim() === '' ||
        german.trim() === '' ||
        placesOf(english).toSorted().join() !== placesOf(german).toSorted().join()
      );
    });
    expect(wrong).toEqual([]);
  });

  it('that counts has a singular in English', () => {
    const counting = KEYS.filter((key) => placesOf(STRINGS[key][0]).includes('count'));
    expect(counting.filter((key) => !STRINGS[key][0].includes('|'))).toEqual([]);
  });

  it('that counts has a singular in German where its verb has one', () => {
    const plural = /\b(?:sind|haben|hätten|werden|wurden|können|treten|hatten)\b/;
    const counting = KEYS.filter((key) => placesOf(STRINGS[key][1]).includes('count'));
    // More than one can be meant only.
    const always = new Set<StringKey>(['bulk.too-many', 'saved.full']);
    expect(counting.filter((key) => plural.test(STRINGS[key][1]) && !STRINGS[key][1].includes('|') && !always.has(key))).toEqual(
      [],
    );
  });

  it('of the first page is of another group than those that come later', () => {
    const groupsOf = (texts: object): Set<string | undefined> => new Set(Object.keys(texts).map((key) => key.split('.')[0]));
    expect([...groupsOf(LATER)].filter((group) => groupsOf(FIRST).has(group))).toEqual([]);
  });

  it('exists for every cause that the API knows', () => {
    expect(CAUSES.filter((cause: Cause) => !KEYS.includes(`cause.${cause}`))).toEqual([]);
  });
});

it('a share is of none or of all only if it is', () => {
  const english = { language: 'en', timeZone: undefined };
  const shares = [0, 1, 125, 9_999, 10_000].map((part) => formatShare(part, 10_000, english));
  expect(shares).toEqual(['0%', '< 0.1%', '1.3%', '> 99.9%', '100%']);
});

it('a text takes the singular for one, and values at its places', () => {
  expect(fill(textOf('en', 'nodes.count', 1), { count: '1' })).toBe('1 node');
  expect(fill(textOf('en', 'nodes.count', 0), { count: '0' })).toBe('0 nodes');
  expect(fill(textOf('de', 'common.range'), { from: '1', to: '9', total: '10' })).toBe('1 bis 9 von 10');
});

it('times, durations and numbers are written as the language and the zone have them', () => {
  const now = Date.parse('2026-11-29T13:02:11Z');
  const english = { language: 'en', timeZone: 'Europe/Berlin' };
  const german = { language: 'de', timeZone: 'Europe/Berlin' };
  const relative = (ms: number): string => formatRelative(now + ms, now, english);
  expect([0, -5_000, -180_000, 7_200_000, -129_600_000, 1_036_800_000].map(relative)).toEqual([
    'now',
    '5 sec. ago',
    '3 min. ago',
    'in 2 hr.',
    '36 hr. ago',
    'in 12 days',
  ]);
  expect(formatRelative(now - 180_000, now, german)).toBe('vor 3 Min.');
  expect(formatAbsolute(now, english)).toBe('29 Nov 2026, 14:02:11 CET');
  expect(formatAbsolute(now, { ...english, timeZone: 'UTC' })).toBe('29 Nov 2026, 13:02:11 UTC');
  expect(formatAbsolute(now, german)).toBe('29. Nov. 2026, 14:02:11 MEZ');
  expect([formatNumber(1_000_000, english), formatNumber(1_000_000, german)]).toEqual(['1,000,000', '1.000.000']);
  expect([7_776_000, 86_400, 129_600, 90, 0].map((seconds) => formatDuration(seconds, english))).toEqual([
    '90 days',
    '1 day',
    '36 hours',
    '90 seconds',
    '0 seconds',
  ]);
});

/** One action of each kind, and of each form of it. */
const ACTIONS: readonly Action[] = [
  { kind: 'none' },
  { kind: 'wait', until: null },
  { kind: 'wait', until: '2026-12-01T08:00:00.000Z' },
  { kind: 'ask-again', node: '0005214e' },
  { kind: 'import-node', node: '0005214e', joined_before: null },
  { kind: 'import-node', node: '0005214e', joined_before: false },
  { kind: 'enable-node', node: '0005214e' },
  { kind: 'enrol-again', node: '0005214e', installer: "Kim's & Sons", lifetime_seconds: 5_400, split: true },
  { kind: 'enrol-again', node: '0005214e', installer: 'Kim', lifetime_seconds: 0 },
  { kind: 'resume-order', order: 3 },
  { kind: 'open-order', order: 3, join_until: null },
  { kind: 'open-order', order: 3, join_until: '2026-12-01T08:00:00.000Z' },
  { kind: 'extend-grace', node: '0005214e', grace_seconds: 172_800, asked_at: null },
  { kind: 'extend-grace', node: '0005214e', grace_seconds: 172_800, asked_at: '2026-12-01T08:00:00.000Z' },
  { kind: 'move-node', node: '0005214e', controller: '00000001', address: '[2001:db8::1]:5683' },
  { kind: 'move-device', node: '0005214e', controller: '00000001', address: '192.0.2.1:5683' },
  { kind: 'reset-node', node: '0005214e', initial_key: 'new' },
  { kind: 'reset-node', node: '0005214e', initial_key: 'same', split: true },
  { kind: 'reinstall-device', node: '0005214e', split: true },
  { kind: 'check-device', node: '0005214e', controller: '00000001', address: '192.0.2.1:5683' },
  { kind: 'check-way-back', node: '0005214e', controller: '00000001', address: '192.0.2.1:5683' },
  { kind: 'check-controller', controller: '00000001', address: '192.0.2.1:5683', servers: [] },
  { kind: 'check-controller', controller: '00000001', address: '192.0.2.1:5683', servers: ['192.0.2.9:5693'] },
  { kind: 'rotate-controller', controller: '00000001' },
  { kind: 'set-clocks', controller: '00000001' },
  { kind: 'release-clock' },
  { kind: 'check-disk' },
  { kind: 'start-server', combined: false },
  { kind: 'start-server', combined: true },
];

it('the steps of each action are those of `node why`: the same places, the same commands', () => {
  for (const action of ACTIONS) {
    const here = stepsFor(action).map(({ on, command }) => [on, command && commandText(command)]);
    const there = stepsOfCommand(action).map(({ on, command }) => [on, command && formatCommandLine(command)]);
    expect([action.kind, here]).toEqual([action.kind, there]);
  }
});

it('a text of a step has a value for each of its places', () => {
  const missing = ACTIONS.flatMap((action) =>
    stepsFor(action).filter(({ text, values }) => !placesOf(STRINGS[text][0]).every((place) => place in values)),
  );
  expect(missing).toEqual([]);
});
