/** Joins at half the rate of the knee, for what is measured beside them. */

import { join } from 'node:path';
import type { LoadProfile } from '../load/load-profile.js';
import { knee } from '../series.js';
import type { SuiteRun } from '../suite.js';
import { MeasuredNetwork } from './network.js';

/** In flight, to find the knee. */
const SWEEP = [4, 8, 16, 32, 64, 128];

export interface JoinSizes {
  /** Nodes that join. */
  readonly nodes: number;
  /** How long the joins of one round take, in ms. */
  readonly ms: number;
  /** Joins before anything is measured. */
  readonly warmUp: number;
}

export interface NetworkAtHalfKnee {
  readonly network: MeasuredNetwork;
  /** Folder of its registry. */
  readonly registry: string;
  readonly perSecond: number;
  /** The joins of one round. */
  readonly plan: Extract<LoadProfile, { readonly kind: 'open' }>;
}

/** Starts a network, finds its knee, and stops it once `measure` is done. */
export async function atHalfKnee<T>(
  run: SuiteRun,
  { nodes, ms, warmUp }: JoinSizes,
  measure: (at: NetworkAtHalfKnee) => Promise<T>,
): Promise<T> {
  const folder = join(run.folder, 'network');
  run.report(`${nodes} nodes`);
  const network = await MeasuredNetwork.start('relayed', folder, nodes);
  try {
    run.report('the knee');
    await network.play({ kind: 'closed', inFlight: 64, ms: 60_000, joins: warmUp });
    const points = [];
    for (const inFlight of SWEEP) {
      const { result } = await network.play({ kind: 'closed', inFlight, ms: ms / 5 });
      points.push({ ...result, load: `${inFlight} in flight` });
    }
    const perSecond = Math.round((knee(points)?.perSecond ?? 0) / 2);
    return await measure({ network, registry: join(folder, 'registry'), perSecond, plan: { kind: 'open', perSecond, ms } });
  } finally {
    await network.stop();
  }
}
