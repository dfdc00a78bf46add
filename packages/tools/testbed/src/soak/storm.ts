/**
 * A join storm: nodes that all begin at once, through a network that loses, delays, doubles,
 * reorders and corrupts one datagram in five of each, each way.
 *
 * The deadline follows from the back-off rules. A datagram comes through unharmed with 0.8 x 0.8,
 * so an exchange in one transmission with 0.41; a request that was corrupted is refused, which ends
 * the attempt, with 0.07; with four transmissions for M1 an exchange comes to 0.7, an attempt to a
 * half, less what waits for candidates to grow old: two in five. Fourteen attempts fail together
 * with 0.6^14 = 0.0008: that is the 99.9 %. Thirteen waits at the middle of their ceilings (full
 * jitter) are 2,118 s, fourteen attempts of 30 s are 420 s: 2,538 s, some 42 minutes.
 */

import { setTimeout as pause } from 'node:timers/promises';
import { BACKOFF } from '@latchkey/protocol';
import { SeededRandom } from '@latchkey/test-support/seeded-random';
import type { DaemonProcess } from '../process.js';
import type { Campaign, CampaignResult, Scale } from './campaign.js';
import { type FaultProbabilities, FaultyNetwork } from './faulty-network.js';
import { findKeyMismatches, endpointOf, SoakEnvironment } from './environment.js';

interface StormSize {
  readonly nodes: number;
  readonly fault: number;
  /** Attempts that may fail one after the other before a node counts as late. */
  readonly attempts: number;
  /** After this even the last must be in, in ms. */
  readonly timeoutMs: number;
}

const SIZES: Readonly<Record<Scale, StormSize>> = {
  full: { nodes: 2_000, fault: 0.2, attempts: 14, timeoutMs: 90 * 60_000 },
  medium: { nodes: 100, fault: 0.1, attempts: 14, timeoutMs: 20 * 60_000 },
  short: { nodes: 40, fault: 0.05, attempts: 14, timeoutMs: 12 * 60_000 },
};

/** Part of the nodes that must be in by the deadline. */
const REQUIRED_FRACTION = 0.999;
const ATTEMPT_DURATION_MS = 30_000;

/** Attempts of 30 s with the waits between them at the middle of their ceilings, in ms. */
function stormDeadline(attempts: number): number {
  let waits = 0;
  for (let failures = 1; failures < attempts; failures++)
    waits += Math.min(BACKOFF.last, BACKOFF.first * 2 ** (failures - 1)) / 2;
  return waits + attempts * ATTEMPT_DURATION_MS;
}

export const storm: Campaign = async ({ scale, seed, report, passThrough = false }) => {
  const { nodes: count, fault, attempts, timeoutMs } = SIZES[scale];
  const environment = await SoakEnvironment.create({ through: true, passThrough });
  const faults: FaultProbabilities = { lost: fault, delayed: fault, doubled: fault, reordered: fault, corrupted: fault };
  const [front, back] = [endpointOf(environment.nodeFacingAddress), endpointOf(environment.controllerAddress)];
  const network = await FaultyNetwork.open(front, back, faults, new SeededRandom(seed, 'storm'));
  try {
    const nodes = await environment.install({ count });
    await Promise.all([environment.startAuthServer().listening(), environment.startController().listening()]);
    const fleet = await environment.startFleet('run', nodes);
    const joins = await joinTimes(fleet, count, timeoutMs, report);
    await fleet.stop();

    const deadline = stormDeadline(attempts);
    const times = [...joins.values()].toSorted((a, b) => a - b);
    const inTime = times.filter((ms) => ms <= deadline).length;
    const failures = [
      ...(inTime < REQUIRED_FRACTION * count ? [`${inTime} of ${count} nodes joined within ${deadline / 1000} s`] : []),
      ...(times.length < count ? [`${count - times.length} nodes have not joined at all`] : []),
      ...(await findKeyMismatches(environment, nodes)),
    ];
    const failed = fleet.lines.filter(({ level }) => level === 'warn').length;
    return { counts: countsOf(times, { count, inTime, deadline, failed, network }), failures };
  } finally {
    network.close();
    await environment.network.remove();
  }
};

/** When each node joined, in ms from the start of the fleet. */
async function joinTimes(
  fleet: DaemonProcess,
  count: number,
  timeoutMs: number,
  say: (text: string) => void,
): Promise<ReadonlyMap<string, number>> {
  const started = await fleet.waitFor(({ msg }) => msg === 'started');
  const began = Date.parse(started.time);
  const joins = new Map<string, number>();
  const end = performance.now() + timeoutMs;
  for (let seen = 0; joins.size < count && performance.now() < end;) {
    for (; seen < fleet.lines.length; seen++) {
      const line = fleet.lines[seen];
      const node = String(line?.['node']);
      if (line?.msg === 'joined' && !joins.has(node)) joins.set(node, Date.parse(line.time) - began);
    }
    say(`${joins.size} of ${count} nodes have joined`);
    await Promise.race([fleet.ended(), pause(1_000)]);
  }
  return joins;
}

function countsOf(
  times: readonly number[],
  of: {
    readonly count: number;
    readonly inTime: number;
    readonly deadline: number;
    readonly failed: number;
    readonly network: FaultyNetwork;
  },
): CampaignResult['counts'] {
  const at = (part: number): string => `${((times[Math.ceil(part * times.length) - 1] ?? NaN) / 1000).toFixed(1)} s`;
  return {
    nodes: of.count,
    joined: times.length,
    'deadline, s': of.deadline / 1000,
    'joined within it': of.inTime,
    'half of them by': at(0.5),
    '99 % by': at(0.99),
    '99.9 % by': at(0.999),
    'the last by': at(1),
    'attempts that failed': of.failed,
    ...Object.fromEntries(
      Object.entries(of.network.counts).map(([fault, n]) => [
        `datagrams ${fault}`.replace('datagrams datagrams', 'datagrams'),
        n,
      ]),
    ),
  };
}
