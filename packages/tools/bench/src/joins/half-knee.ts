/** The load that a network is measured under while something else goes on. */

import { knee } from '../series.js';
import type { MeasuredNetwork } from './network.js';

/** In flight, to find the knee. */
const SWEEP = [4, 8, 16, 32, 64, 128];

/**
 * Joins in a second, half of those at the knee.
 *
 * @param warmUp joins before anything is measured
 * @param ms how long each load of the sweep lasts
 */
export async function halfOfKnee(network: MeasuredNetwork, warmUp: number, ms: number): Promise<number> {
  await network.play({ kind: 'closed', inFlight: 64, ms: 60_000, joins: warmUp });
  const points = [];
  for (const inFlight of SWEEP) {
    const { result } = await network.play({ kind: 'closed', inFlight, ms });
    points.push({ ...result, load: `${inFlight} in flight` });
  }
  return Math.round((knee(points)?.perSecond ?? 0) / 2);
}
