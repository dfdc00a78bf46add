// Proves that a former key ends in time by whichever clock knows more, and never by a clock that
// was set while the device ran.

import { describe, expect, it } from 'vitest';
import { confirmedAt, endOf, expiryOf, type FormerKey, type KeyLease, msSinceReplaced } from '../src/key-lease.js';
import { newSecret } from './fixtures.js';

const WALL_MS = 1_800_000_000_000;
const HOUR_MS = 3_600_000;
const OVERLAP_MS = 900_000;

function former(expiresAt?: number): FormerKey {
  return { applicationRoot: newSecret(), replacedAt: { wallMs: WALL_MS, poweredMs: 5_000, boots: 3 }, expiresAt };
}

const LEASE: KeyLease = {
  joinedAt: WALL_MS,
  at: WALL_MS,
  poweredAt: 5_000,
  boots: 3,
  lifetime: 24 * 3_600,
  renewal: { afterMs: 18 * HOUR_MS, afterBoots: 8 },
};
const YEAR_MS = 365 * 24 * HOUR_MS;

describe('the time of a confirmation', () => {
  it.each([
    ['as it was, if the clock ran on', { wallMs: WALL_MS + HOUR_MS, poweredMs: 5_000 + HOUR_MS, boots: 3 }, WALL_MS],
    [
      'ahead by as much as the clock was set ahead, in one boot',
      { wallMs: WALL_MS + YEAR_MS, poweredMs: 5_000, boots: 3 },
      WALL_MS + YEAR_MS,
    ],
    [
      'as it was after another boot, as the device may have been off',
      { wallMs: WALL_MS + YEAR_MS, poweredMs: 5_000, boots: 4 },
      WALL_MS,
    ],
    ['back by as much as the clock was set back', { wallMs: WALL_MS - YEAR_MS, poweredMs: 5_000, boots: 3 }, WALL_MS - YEAR_MS],
    ['back after another boot, too', { wallMs: WALL_MS - YEAR_MS, poweredMs: 5_000, boots: 4 }, WALL_MS - YEAR_MS],
  ])('is %s', (_, now, expected) => {
    expect(confirmedAt(LEASE, now)).toBe(expected);
  });

  it('makes no key expire because the clock was set after it was confirmed', () => {
    const now = { wallMs: WALL_MS + YEAR_MS, poweredMs: 5_000 + HOUR_MS, boots: 3 };
    expect(expiryOf({ keyLease: LEASE }, now)).toBe(now.wallMs + 23 * HOUR_MS);
  });
});

describe('the time since a key was replaced', () => {
  it.each([
    ['powered time, in one boot', { wallMs: WALL_MS + 30_000, poweredMs: 35_000, boots: 3 }, 30_000],
    ['powered time, if the wall clock was set ahead', { wallMs: WALL_MS + HOUR_MS, poweredMs: 6_000, boots: 3 }, 1_000],
    ['powered time, if the wall clock was set back', { wallMs: WALL_MS - HOUR_MS, poweredMs: 6_000, boots: 3 }, 1_000],
    ['the time that the device was off, too', { wallMs: WALL_MS + HOUR_MS, poweredMs: 6_000, boots: 4 }, HOUR_MS],
    ['powered time, after a boot with a wall clock that stood still', { wallMs: 0, poweredMs: 6_000, boots: 4 }, 1_000],
  ])('is %s', (_, now, expected) => {
    expect(msSinceReplaced(former(), now)).toBe(expected);
  });
});

describe('the end of a former key', () => {
  const now = { wallMs: WALL_MS + 1_000, poweredMs: 6_000, boots: 3 };

  it('comes 15 minutes after it was replaced', () => {
    expect(endOf(former(), now)).toBe(WALL_MS + OVERLAP_MS);
  });

  it('comes with its expiry if that is sooner', () => {
    expect(endOf(former(WALL_MS + 2_000), now)).toBe(WALL_MS + 2_000);
    expect(endOf(former(WALL_MS + HOUR_MS), now)).toBe(WALL_MS + OVERLAP_MS);
  });

  it('does not come because the clock was set ahead', () => {
    const later = { wallMs: WALL_MS + YEAR_MS, poweredMs: 5_000 + 60_000, boots: 3 };
    expect(endOf(former(WALL_MS + HOUR_MS), later)).toBe(later.wallMs + OVERLAP_MS - 60_000);
  });
});
