// Proves when a node renews: by each of its clocks, and in time though its power is cut again and
// again and no clock runs meanwhile; and that nodes that are switched on together do not renew
// together.

import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type Confirmation,
  scheduleRenewal,
  type NodeClocks,
  type Renewal,
  saveIntervalMs,
  msUntilRenewal,
} from '../src/renewal.js';

const HOUR_MS = 3_600_000;
const DAY_S = 86_400;
const uniform = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
const lifetime = fc.integer({ min: 1, max: 0xffff_ffff });
const renewal = fc
  .tuple(lifetime, uniform, uniform)
  .map(([seconds, ...draws]) => ({ seconds, drawn: scheduleRenewal(seconds, () => draws.shift()!)! }));

/** Of a fixed sequence, the same in each run. */
function sequence(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

function confirmed(drawn: Renewal | undefined, more: Partial<Confirmation> = {}): Confirmation {
  return { at: 1_000_000, poweredAt: 5_000, boots: 3, renewal: drawn, ...more };
}

function clocks({ at, poweredAt, boots }: Confirmation, more: Partial<NodeClocks> = {}): NodeClocks {
  return { wallMs: at + (more.wallMs ?? 0), poweredMs: poweredAt + (more.poweredMs ?? 0), boots: boots + (more.boots ?? 0) };
}

describe('a renewal', () => {
  it('is due after 72 to 88 % of the lifetime or at the 4th to 8th boot, and never with lifetime 0', () => {
    const drawn = [0, 0.5, 1 - Number.EPSILON].map((u) => scheduleRenewal(1000, () => u));
    expect(drawn).toEqual([
      { afterMs: 720_000, afterBoots: 4 },
      { afterMs: 800_000, afterBoots: 6 },
      { afterMs: 880_000, afterBoots: 8 },
    ]);
    expect(scheduleRenewal(0, () => 0.5)).toBeUndefined();
    expect(msUntilRenewal(confirmed(undefined), { wallMs: Infinity, poweredMs: Infinity, boots: Infinity })).toBe(Infinity);
    fc.assert(
      fc.property(renewal, ({ seconds, drawn: { afterMs, afterBoots } }) => {
        expect(afterMs).toBeGreaterThanOrEqual(Math.floor(720 * seconds));
        expect(afterMs).toBeLessThanOrEqual(Math.ceil(880 * seconds));
        expect([4, 5, 6, 7, 8]).toContain(afterBoots);
      }),
    );
  });

  const drawn: Renewal = { afterMs: 60_000, afterBoots: 6 };
  it.each<[string, Partial<NodeClocks>, number]>([
    ['as it is confirmed', {}, 60_000],
    ['by the wall clock', { wallMs: 59_999 }, 1],
    ['by powered time', { poweredMs: 60_001 }, -1],
    ['by boots', { boots: 5 }, 10_000],
    ['by boots, the last of them', { boots: 6 }, 0],
    ['by powered time and boots together', { poweredMs: 20_000, boots: 4 }, 0],
    ['by powered time, the wall clock being behind', { wallMs: -1e12, poweredMs: 50_000 }, 10_000],
    ['by the wall clock, were it ahead', { wallMs: 1e12 }, 60_000 - 1e12],
    ['by the wall clock, which is not added to the others', { wallMs: 50_000, poweredMs: 20_000, boots: 1 }, 10_000],
  ])('is judged %s', (_, passed, left) => {
    const confirmation = confirmed(drawn);
    expect(msUntilRenewal(confirmation, clocks(confirmation, passed))).toBe(left);
  });
});

describe('a device with no clock whose power is cut', () => {
  /** For how long it ran in each boot, in ms. */
  const runs = fc.array(fc.integer({ min: 0, max: 4 * HOUR_MS }), { minLength: 1, maxLength: 40 });

  it('is never behind the time for which it ran, and due at its last boot whatever that is', () => {
    fc.assert(
      fc.property(renewal, runs, ({ drawn }, boots) => {
        const confirmation = confirmed(drawn, { poweredAt: 0, boots: 0 });
        let [saved, ran] = [0, 0];
        for (const [boot, ms] of boots.entries()) {
          // What is left of the run is what was saved at the last whole interval, the first of them
          // as the boot began.
          const interval = saveIntervalMs(drawn);
          const left = (passed: number): number =>
            msUntilRenewal(confirmation, { wallMs: confirmation.at, poweredMs: saved + passed, boots: boot });
          expect(drawn.afterMs - left(ms)).toBeGreaterThanOrEqual(ran + ms);
          saved += Math.floor(ms / interval) * interval;
          ran += ms;
        }
        const last = { wallMs: confirmation.at, poweredMs: 0, boots: drawn.afterBoots };
        expect(msUntilRenewal(confirmation, last)).toBeLessThanOrEqual(0);
        expect(msUntilRenewal(confirmation, { ...last, boots: drawn.afterBoots - 1 })).toBeGreaterThan(0);
      }),
    );
  });

  it('writes at most eight times for a key, or once an hour', () => {
    fc.assert(
      fc.property(renewal, ({ drawn }) => {
        const interval = saveIntervalMs(drawn);
        expect(interval).toBe(Math.min(HOUR_MS, interval));
        expect(interval === HOUR_MS || drawn.afterMs / interval <= 8).toBe(true);
      }),
    );
  });
});

describe('ten thousand nodes that joined together', () => {
  const draw = sequence(1);
  const nodes = Array.from({ length: 10_000 }, () => confirmed(scheduleRenewal(30 * DAY_S, draw)));

  it('renew a quarter of them at most as their power comes back, however often it fails', () => {
    const waiting = new Set(nodes);
    for (let boots = 1; boots <= 8; boots++) {
      const due = [...waiting].filter((node) => msUntilRenewal(node, clocks(node, { boots })) <= 0);
      for (const node of due) waiting.delete(node);
      expect(due.length).toBeLessThanOrEqual(boots < 4 ? 0 : 2_500);
    }
    expect(waiting.size).toBe(0);
  });

  it('renew less than a fifth of them at a power failure, if they have long renewed at different times', () => {
    const due = nodes.filter((node) => {
      const passed = draw() * node.renewal!.afterMs;
      return msUntilRenewal(node, clocks(node, { wallMs: passed, poweredMs: passed, boots: 1 })) <= 0;
    });
    expect(due.length).toBeGreaterThan(0);
    expect(due.length).toBeLessThan(2_000);
  });
});
