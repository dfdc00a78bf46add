/**
 * M1 at full speed from 10,000 sources that do not exist, for unknown IDs, known ones, and one node
 * above all; and all the while honest nodes join, that one among them. Controller and auth-server
 * must stay within the memory they were given, each join within 10 s.
 *
 * A flooder's own work is done elsewhere, but here on the same machine. In `floods` it stands back
 * for that, in `firewall` it has the same claim to the processor as everyone, and the kernel keeps
 * what one address asks of the controller to its share.
 */

import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { setPriority } from 'node:os';
import { fileURLToPath } from 'node:url';
import { DEFAULT_MEMORY } from '@latchkey/runtime/daemon';
import type { DaemonProcess } from '../process.js';
import type { Campaign, CampaignResult, Scale } from './campaign.js';
import { Firewall } from './firewall.js';
import { endpointOf, SoakEnvironment, type SoakNode } from './environment.js';

interface FloodSize {
  readonly seconds: number;
  readonly sources: number;
  readonly knownNodes: number;
  /** In ms. The short form is a test, which shares its machine: its joins need only succeed. */
  readonly maxJoinMs: number;
}

const SIZES: Readonly<Record<Scale, FloodSize>> = {
  full: { seconds: 600, sources: 10_000, knownNodes: 3_000, maxJoinMs: 10_000 },
  medium: { seconds: 30, sources: 10_000, knownNodes: 1_000, maxJoinMs: 10_000 },
  short: { seconds: 8, sources: 1_000, knownNodes: 100, maxJoinMs: Infinity },
};

/** A join that takes longer has failed, in ms. */
const JOIN_TIMEOUT_MS = 300_000;
/** Of the M1s for known IDs, half are for one node: as many times it stands in the list. */
const TARGETED_FRACTION = 0.5;

const DAEMON_NICE = -10;
const FLOODER_NICE = 19;
const FLOODER = fileURLToPath(new URL('../../dist/soak/flooder.js', import.meta.url));

interface FloodResult {
  readonly sent: number;
  readonly answers: number;
  readonly perSecond: number;
}

type Scheduling = 'daemons first' | 'all alike';

export const floods: Campaign = ({ scale, report, passThrough = false }) =>
  flood(SIZES[scale], 'daemons first', passThrough, report);

export const firewall: Campaign = async ({ scale, report, passThrough = false }) => {
  if (!Firewall.AVAILABLE) return { counts: { 'not run': 'it takes root and nft' }, failures: [] };
  return flood(SIZES[scale], 'all alike', passThrough, report);
};

async function flood(
  size: FloodSize,
  scheduling: Scheduling,
  passThrough: boolean,
  say: (text: string) => void,
): Promise<CampaignResult> {
  const environment = await SoakEnvironment.create({ passThrough });
  const { port } = endpointOf(environment.controllerAddress);
  let firewall: Firewall | undefined;
  const prioritize = (process: DaemonProcess): DaemonProcess => (scheduling === 'all alike' ? process : raisePriority(process));
  try {
    if (scheduling === 'all alike') firewall = Firewall.install(port);
    const known = await environment.install({ count: size.knownNodes });
    const [targeted, ...others] = known;
    if (targeted === undefined) throw new Error('no node to aim at');
    const [server, controller] = [prioritize(environment.startAuthServer()), prioritize(environment.startController())];
    await Promise.all([server.listening(), controller.listening()]);

    const flooder = startFlooder(port, size, scheduling, idsToFlood(targeted, others));
    const joins: number[] = [];
    let failed = 0;
    for (let i = 0; !flooder.isOver(); i++) {
      // The one that all aim at every other time; the rest have not joined before.
      const node = i % 2 === 0 ? targeted : others.pop();
      if (node === undefined) break;
      const began = performance.now();
      const fleet = prioritize(await environment.startFleet('once', [node]));
      const joined = await fleet.waitFor(({ msg }) => msg === 'joined', JOIN_TIMEOUT_MS).catch(() => undefined);
      if (joined === undefined) failed += 1;
      else joins.push(Math.round(performance.now() - began));
      await fleet.stop();
      say(`${joins.length} joins, the slowest in ${Math.max(...joins)} ms`);
    }
    const flooded = await flooder.result;
    const peak = { server: await peakRss(server), controller: await peakRss(controller) };
    const slow = joins.filter((ms) => ms > size.maxJoinMs);
    return {
      counts: {
        seconds: size.seconds,
        sources: size.sources,
        'forged M1': flooded.sent,
        'a second': flooded.perSecond,
        'answers to them': flooded.answers,
        ...(firewall === undefined ? {} : { 'dropped by the kernel': firewall.dropped }),
        'honest joins meanwhile': joins.length,
        'the slowest, ms': Math.max(...joins),
        'half of them within, ms': joins.toSorted((a, b) => a - b)[Math.floor(joins.length / 2)] ?? NaN,
        'most resident memory of the controller, MiB': peak.controller,
        'most resident memory of the auth-server, MiB': peak.server,
      },
      failures: [
        ...(firewall !== undefined && flooded.answers > flooded.sent - firewall.dropped
          ? [`${flooded.answers} of ${flooded.sent} were answered, and the kernel says that it dropped ${firewall.dropped}`]
          : []),
        ...(firewall?.dropped === 0 ? ['the kernel dropped nothing'] : []),
        ...(failed > 0 ? [`${failed} joins failed`] : []),
        ...(slow.length > 0
          ? [`${slow.length} of ${joins.length} joins took longer than ${size.maxJoinMs / 1000} s: ${slow.join(', ')} ms`]
          : []),
        ...Object.entries(peak)
          .filter(([, mib]) => mib > DEFAULT_MEMORY)
          .map(([name, mib]) => `the ${name} had ${mib} MiB resident, of ${DEFAULT_MEMORY}`),
        ...[server, controller]
          .filter(({ unparsedOutput }) => unparsedOutput !== '')
          .map(({ name, unparsedOutput }) => `${name}: ${unparsedOutput}`),
      ],
    };
  } finally {
    firewall?.remove();
    await environment.network.remove();
  }
}

function idsToFlood(targeted: SoakNode, others: readonly SoakNode[]): string[] {
  const ids = others.slice(0, 1_000).map(({ id }) => id);
  return [
    ...ids,
    ...Array.from({ length: Math.round(ids.length * (TARGETED_FRACTION / (1 - TARGETED_FRACTION))) }, () => targeted.id),
  ];
}

function startFlooder(
  port: number,
  size: FloodSize,
  scheduling: Scheduling,
  ids: readonly string[],
): { isOver(): boolean; readonly result: Promise<FloodResult> } {
  const args = [FLOODER, String(port), String(size.sources), String(size.seconds), ids.join(',')];
  const child: ChildProcessByStdio<null, Readable, null> = spawn(process.execPath, args, {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  if (scheduling === 'daemons first' && child.pid !== undefined) setPriority(child.pid, FLOODER_NICE);
  let over = false;
  let flooded: FloodResult | undefined;
  createInterface({ input: child.stdout }).on('line', (line) => {
    const said = JSON.parse(line) as FloodResult & { readonly msg: string };
    if (said.msg === 'flooded') flooded = said;
  });
  const result = once(child, 'close').then(() => {
    over = true;
    if (flooded === undefined) throw new Error('the flooder ended early');
    return flooded;
  });
  return { isOver: () => over, result };
}

/**
 * What else runs on this machine is no part of the measurement. Takes root; without it the machine
 * had better be idle.
 */
function raisePriority(process: DaemonProcess): DaemonProcess {
  try {
    setPriority(process.pid, DAEMON_NICE);
  } catch {
    // Not root.
  }
  return process;
}

/** VmHWM of the process, in MiB. */
async function peakRss({ pid }: DaemonProcess): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  return Math.round(Number(/VmHWM:\s+(\d+)/.exec(status)?.[1]) / 1024);
}
