// Proves that a former key ends in time by whichever clock knows more, and never by a clock that
// was set while the device ran.

import { describe, expect, it } from 'vitest';
import { endOf, type FormerKey, msSinceReplaced } from '../src/key-lease.js';
import { newSecret } from './fixtures.js';

const WALL_MS = 1_800_000_000_000;
const HOUR_MS = 3_600_000;
const OVERLAP_MS = 900_000;

function former(expiresAt?: number): FormerKey {
  return { applicationRoot: newSecret(), replacedAt: { wallMs: WALL_MS, poweredMs: 5_000, boots: 3 }, expiresAt };
}

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
});
