/**
 * What the protocol alone takes of a join in controller and auth-server: what it computes, and
 * nothing around it.
 */

import { InProcessJoin, type Side } from '../in-process-join.js';
import type { Measurement } from '../interleave.js';

export function measureProtocol(joins: number): Measurement<'cpuUs'> {
  let ms = 0;
  const roles = new InProcessJoin(<T>(side: Side, run: () => T): T => {
    if (side === 'node') return run();
    const since = performance.now();
    const done = run();
    ms += performance.now() - since;
    return done;
  });
  // As often again before: the compiler is not what is to be measured.
  for (let n = 0; n < joins; n++) roles.join();
  ms = 0;
  for (let n = 0; n < joins; n++) roles.join();
  return { cpuUs: (1000 * ms) / joins };
}
