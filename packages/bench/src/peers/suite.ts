/** `bench peers`: what others take to authenticate a device by a pre-shared key, on the same machine in the same run. */

import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { type Figure, figure, type Rules } from '../figure.js';
import { Network } from '../joins/network.js';
import type { Outcome, Run } from '../suite.js';
import { inTurn, quantity, type Sample } from '../turns.js';
import { isInstalled, Peer, type PeerProgram } from './peer.js';
import { PEERS } from './programs.js';

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
  run: Run,
  sizes: Sizes = run.extent === 'quick' ? QUICK : FULL,
  peers: readonly PeerProgram[] = PEERS,
): Promise<Outcome> {
  const remarks: string[] = [];
  const there: PeerProgram[] = [];
  for (const peer of peers) {
    if (await isInstalled(peer)) there.push(peer);
    else
      remarks.push(`Skipped: ${peer.name}, for want of ${peer.server} or ${peer.client} (Debian: ${peer.packages.join(', ')}).`);
  }
  if (there.length === 0) return { figures: [], remarks };
  run.tell('starting Latchkey');
  const latchkey = await Network.start('relayed', join(run.folder, 'latchkey'), sizes.nodes);
  const figures: Figure[] = [];
  try {
    await latchkey.play({ kind: 'closed', inFlight: 64, ms: 60_000, joins: sizes.warmUp });
    for (const [i, program] of there.entries()) figures.push(...(await comparePeer(run, sizes, latchkey, program, i)));
  } finally {
    await latchkey.stop();
  }
  return { figures, remarks };
}

async function comparePeer(run: Run, sizes: Sizes, latchkey: Network, program: PeerProgram, i: number): Promise<Figure[]> {
  run.tell(program.name);
  const folder = join(run.folder, `peer-${i}`);
  await mkdir(folder, { mode: 0o700 });
  const peer = await Peer.start(program, folder);
  try {
    const rounds = await inTurn<'alone' | 'together' | 'peer', Quantity>(run.rounds, {
      alone: () => joinsOf(latchkey, 1, sizes.ms),
      together: () => joinsOf(latchkey, 64, sizes.ms),
      peer: () => peer.measure(sizes.authentications),
    });
    const compared = (what: string, unit: Figure['unit'], name: Quantity, of: 'alone' | 'together', rules: Rules = {}): Figure =>
      figure(
        what,
        unit,
        { name: of === 'alone' ? 'Latchkey, 1 in flight' : 'Latchkey, 64 in flight', values: quantity(rounds[of], name) },
        { name: program.name, values: quantity(rounds.peer, name) },
        rules,
      );
    // What is wanted is wanted of the one that Debian's coap-server is linked with.
    const wanted = program.server === 'coap-server-openssl' ? { limit: 1 } : {};
    return [
      compared('CPU time of all servers', 'us', 'cpuUs', 'together', wanted),
      compared('CPU time of all servers', 'us', 'cpuUs', 'alone'),
      compared('p50', 'ms', 'p50', 'alone'),
      compared('datagrams', 'n', 'datagrams', 'alone'),
      compared('octets', 'octets', 'octets', 'alone'),
    ];
  } finally {
    await peer.stop();
  }
}

async function joinsOf(latchkey: Network, inFlight: number, ms: number): Promise<Sample<Quantity>> {
  const { played, controllerCpuMs, serverCpuMs } = await latchkey.play({ kind: 'closed', inFlight, ms });
  const { joins, p50, datagrams, octets } = played;
  return { cpuUs: ((controllerCpuMs + serverCpuMs) * 1000) / joins, p50, datagrams: datagrams / joins, octets: octets / joins };
}
