/**
 * `bench peers`: what others take to authenticate a device by a pre-shared key, on the same machine
 * in the same run.
 */

import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { type RatioMetric, ratioMetric, type RatioLimits } from '../ratio.js';
import { MeasuredNetwork } from '../joins/network.js';
import type { SuiteResult, SuiteRun } from '../suite.js';
import { interleave, quantity, type Measurement } from '../interleave.js';
import { isInstalled, ReferenceServer, type ReferenceProgram } from './reference-server.js';
import { REFERENCE_PROGRAMS } from './programs.js';

interface Sizes {
  readonly nodes: number;
  readonly warmUp: number;
  readonly ms: number;
  /** Authentications with each peer in a round. */
  readonly authentications: number;
}

const FULL: Sizes = { nodes: 5_000, warmUp: 30_000, ms: 3_000, authentications: 200 };
const QUICK: Sizes = { nodes: 1_000, warmUp: 3_000, ms: 1_000, authentications: 40 };

type Quantity = 'cpuUs' | 'p50' | 'datagrams' | 'octets';

export async function peersSuite(
  run: SuiteRun,
  sizes: Sizes = run.depth === 'quick' ? QUICK : FULL,
  peers: readonly ReferenceProgram[] = REFERENCE_PROGRAMS,
): Promise<SuiteResult> {
  const remarks: string[] = [];
  const there: ReferenceProgram[] = [];
  for (const peer of peers) {
    if (await isInstalled(peer)) there.push(peer);
    else
      remarks.push(`Skipped: ${peer.name}, for want of ${peer.server} or ${peer.client} (Debian: ${peer.packages.join(', ')}).`);
  }
  if (there.length === 0) return { figures: [], remarks };
  run.report('starting Latchkey');
  const latchkey = await MeasuredNetwork.start('relayed', join(run.folder, 'latchkey'), sizes.nodes);
  const figures: RatioMetric[] = [];
  try {
    await latchkey.play({ kind: 'closed', inFlight: 64, ms: 60_000, joins: sizes.warmUp });
    for (const [i, program] of there.entries()) figures.push(...(await comparePeer(run, sizes, latchkey, program, i)));
  } finally {
    await latchkey.stop();
  }
  return { figures, remarks };
}

async function comparePeer(
  run: SuiteRun,
  sizes: Sizes,
  latchkey: MeasuredNetwork,
  program: ReferenceProgram,
  i: number,
): Promise<RatioMetric[]> {
  run.report(program.name);
  const folder = join(run.folder, `peer-${i}`);
  await mkdir(folder, { mode: 0o700 });
  const peer = await ReferenceServer.start(program, folder);
  try {
    const rounds = await interleave<'alone' | 'together' | 'peer', Quantity>(run.rounds, {
      alone: () => joinsOf(latchkey, 1, sizes.ms),
      together: () => joinsOf(latchkey, 64, sizes.ms),
      peer: () => peer.measure(sizes.authentications),
    });
    const compared = (
      what: string,
      unit: RatioMetric['unit'],
      name: Quantity,
      of: 'alone' | 'together',
      rules: RatioLimits = {},
    ): RatioMetric =>
      ratioMetric(
        what,
        unit,
        { name: of === 'alone' ? 'Latchkey, 1 in flight' : 'Latchkey, 64 in flight', values: quantity(rounds[of], name) },
        { name: program.name, values: quantity(rounds.peer, name) },
        rules,
      );
    return [
      compared('CPU time of all servers', 'us', 'cpuUs', 'together', wantedOf(program)),
      compared('CPU time of all servers', 'us', 'cpuUs', 'alone'),
      compared('p50', 'ms', 'p50', 'alone'),
      compared('datagrams', 'n', 'datagrams', 'alone'),
      compared('octets', 'octets', 'octets', 'alone'),
    ];
  } finally {
    await peer.stop();
  }
}

/** Of the `coap-server` that Debian links, what must hold; of hostapd, what is aimed for. */
function wantedOf({ server }: ReferenceProgram): RatioLimits {
  if (server === 'coap-server-openssl') return { limit: 1 };
  return server === 'hostapd' ? { target: { limit: 1.2 } } : {};
}

async function joinsOf(latchkey: MeasuredNetwork, inFlight: number, ms: number): Promise<Measurement<Quantity>> {
  const { result, controllerCpuMs, serverCpuMs } = await latchkey.play({ kind: 'closed', inFlight, ms });
  const { joins, p50, datagrams, octets } = result;
  return { cpuUs: ((controllerCpuMs + serverCpuMs) * 1000) / joins, p50, datagrams: datagrams / joins, octets: octets / joins };
}
