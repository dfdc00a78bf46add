// Proves when a server takes its own clock for the wrong one.

import { describe, expect, it } from 'vitest';
import { ControllerClocks } from '../src/server/controller-clocks.js';

const START = { wallMs: 2_000_000_000_000, monotonicMs: 1_000_000 };
/** `ms` later, with the wall clock set by `set` ms meanwhile. */
const later = (ms: number, set = 0): typeof START => ({ wallMs: START.wallMs + ms + set, monotonicMs: START.monotonicMs + ms });

describe('the clocks of controllers', () => {
  it('say nothing while none has asked, or while one of them agrees', () => {
    const clocks = new ControllerClocks();
    expect(clocks.fault(START)).toBeUndefined();
    clocks.judged(1, 300_000, START);
    clocks.judged(2, undefined, START);
    clocks.judged(3, -40_000, later(1_000));
    expect(clocks.fault(later(2_000))).toBeUndefined();
    clocks.judged(2, 41_000, later(3_000));
    expect(clocks.fault(later(4_000))).toContain('that of all 3 controllers that ask, by 40 s');
    clocks.judged(1, undefined, later(5_000));
    expect(clocks.fault(later(6_000))).toBeUndefined();
  });

  it('say nothing of a time before this clock was set, forward or back', () => {
    for (const set of [60_000, -60_000]) {
      const clocks = new ControllerClocks();
      clocks.judged(1, 300_000, START);
      expect(clocks.fault(later(1_000, set))).toBeUndefined();
      // One that agreed before is no witness for the clock as it is now.
      clocks.judged(2, undefined, START);
      clocks.judged(1, 300_000, later(1_000, set));
      expect(clocks.fault(later(2_000, set))).toContain('that of the only controller that asks, by 300 s');
    }
  });

  it('are believed until a refused node must have come again', () => {
    const clocks = new ControllerClocks();
    clocks.judged(1, -300_000, START);
    expect(clocks.fault(later(600_000))).toBeDefined();
    expect(clocks.fault(later(661_000))).toBeUndefined();
  });

  it('of more controllers than are remembered are forgotten together', () => {
    const clocks = new ControllerClocks();
    for (let idC = 1; idC <= 1_024; idC++) clocks.judged(idC, 300_000, START);
    expect(clocks.fault(START)).toContain('all 1024 controllers');
    clocks.judged(1_025, 300_000, START);
    expect(clocks.fault(START)).toContain('the only controller that asks');
  });
});
