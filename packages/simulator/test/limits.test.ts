// Shows what the profile presupposes of clocks, by taking each premise away: then some seed locks a node out. docs/SECURITY.md says so.

import { describe, expect, it } from 'vitest';
import { PREMISES, type Premises } from '../src/scenario.ts';
import { run } from '../src/world.ts';

function lockouts(premises: Premises): number {
  let count = 0;
  for (let seed = 1; seed <= 300 && count < 3; seed++) if (run(seed, { premises }).violation?.invariant === 1) count += 1;
  return count;
}

describe('an attacker who has kept M7s back can lock a node out', () => {
  it('when the clocks of controller and auth-server are set back together by more than three minutes', () => {
    expect(lockouts({ ...PREMISES, clocksSetApart: false })).toBe(3);
  });

  it('when the clock of the auth-server is set back by more than eight minutes', () => {
    expect(lockouts({ ...PREMISES, clockNotFarBack: false })).toBe(3);
  });

  it('but not when the auth-server starts with its clock behind, and nobody has joined for minutes: it keeps the time', () => {
    expect(lockouts({ ...PREMISES, clockRightAtStart: false })).toBe(0);
  });
});
