/**
 * M1 at full speed from 10,000 sources that do not exist, for unknown IDs, known ones, and one node above all; and all the while honest
 * nodes join, that one among them. Controller and auth-server must stay within the memory they were given, each join within 10 s.
 *
 * A flooder's own work is done elsewhere, but here on the same machine. In `floods` it stands back for that, in `firewall` it has the
 * same claim to the processor as everyone, and the kernel keeps what one address asks of the controller to its share.
 */

import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { setPriority } from 'node:os';
import { fileURLToPath } from 'node:url';
import { DEFAULT_MEMORY } from '@latchkey/runtime';
import type { DaemonProcess } from '../process.js';
import type { Campaign, Outcome, Scale } from './campaign.js';
import { Firewall } from './firewall.js';
import { endpoint, Ground, type SoakNode } from './ground.js';

interface Size {
  readonly seconds: number;
  readonly sources: number;
  readonly knownNodes: number;
}

const SIZES: Readonly<Record<Scale, Size>> = {
  full: { seconds: 600, sources: 10_000, knownNodes: 3_000 },
  medium: { seconds: 30, sources: 10_000, knownNodes: 1_000 },
  short: { seconds: 8, sources: 1_000, knownNodes: 100 },
};

const JOIN_LIMIT_MS = 10_000;
/** A join that is not through by then is given up, in ms. */
const PATIENCE_MS = 60_000;
/** Of the M1s for known IDs, half are for one node: as many times it stands in the list. */
const TARGETED = 0.5;

const PREFERRED = -10;
const STANDS_BACK = 19;
const FLOODER = fileURLToPath(new URL('../../dist/soak/flooder.js', import.meta.url));

interface Flooded {
  readonly sent: number;
  readonly answers: number;
  readonly perSecond: number;
}

type Order = 'daemons first' | 'all alike';

export const floods: Campaign = ({ scale, say }) => flood(SIZES[scale], 'daemons first', say);

export const firewall: Campaign = async ({ scale, say }) => {
  if (!Firewall.IS_THERE) return { counts: { 'not run': 'it takes root and nft' }, failures: [] };
  return flood(SIZES[scale], 'all alike', say);
};

async function flood(size: Size, order: Order, say: (text: string) => void): Promise<Outcome> {
  const ground = await Ground.create();
  const { port } = endpoint(ground.controllerAddress);
  let wall: Firewall | undefined;
  const start = (process: DaemonProcess): DaemonProcess => (order === 'all alike' ? process : preferred(process));
  try {
    if (order === 'all alike') wall = Firewall.raise(port);
    const known = await ground.install({ count: size.knownNodes });
    const [targeted, ...others] = known;
    if (targeted === undefined) throw new Error('no node to aim at');
    const [server, controller] = [start(ground.startAuthServer()), start(ground.startController())];
    await Promise.all([server.listening(), controller.listening()]);

    const flooder = startFlooder(port, size, order, idsToFlood(targeted, others));
    const joins: number[] = [];
    for (let i = 0; !flooder.isOver(); i++) {
      // The one that all aim at every other time; the rest have not joined before.
      const node = i % 2 === 0 ? targeted : others.pop();
      if (node === undefined) break;
      const began = performance.now();
      const fleet = start(await ground.startFleet('once', [node]));
      await fleet.waitFor(({ msg }) => msg === 'joined', PATIENCE_MS).catch(() => undefined);
      joins.push(Math.round(performance.now() - began));
      await fleet.stop();
      say(`${joins.length} joins, the slowest in ${Math.max(...joins)} ms`);
    }
    const flooded = await flooder.result;
    const highest = { server: await highestRss(server), controller: await highestRss(controller) };
    const slow = joins.filter((ms) => ms > JOIN_LIMIT_MS);
    return {
      counts: {
        seconds: size.seconds,
        sources: size.sources,
        'forged M1': flooded.sent,
        'a second': flooded.perSecond,
        'answers to them': flooded.answers,
        ...(wall === undefined ? {} : { 'dropped by the kernel': wall.dropped }),
        'honest joins meanwhile': joins.length,
        'the slowest, ms': Math.max(...joins),
        'half of them within, ms': joins.toSorted((a, b) => a - b)[Math.floor(joins.length / 2)] ?? NaN,
        'most resident memory of the controller, MiB': highest.controller,
        'most resident memory of the auth-server, MiB': highest.server,
      },
      failures: [
        ...(wall !== undefined && flooded.answers > flooded.sent - wall.dropped
          ? [`${flooded.answers} of ${flooded.sent} were answered, and the kernel says that it dropped ${wall.dropped}`]
          : []),
        ...(wall?.dropped === 0 ? ['the kernel dropped nothing'] : []),
        ...(slow.length > 0 ? [`${slow.length} of ${joins.length} joins took longer than 10 s: ${slow.join(', ')} ms`] : []),
        ...Object.entries(highest)
          .filter(([, mib]) => mib > DEFAULT_MEMORY)
          .map(([name, mib]) => `the ${name} had ${mib} MiB resident, of ${DEFAULT_MEMORY}`),
        ...[server, controller].filter(({ noise }) => noise !== '').map(({ name, noise }) => `${name}: ${noise}`),
      ],
    };
  } finally {
    wall?.remove();
    await ground.network.remove();
  }
}

function idsToFlood(targeted: SoakNode, others: readonly SoakNode[]): string[] {
  const ids = others.slice(0, 1_000).map(({ id }) => id);
  return [...ids, ...Array.from({ length: Math.round(ids.length * (TARGETED / (1 - TARGETED))) }, () => targeted.id)];
}

function startFlooder(
  port: number,
  size: Size,
  order: Order,
  ids: readonly string[],
): { isOver(): boolean; readonly result: Promise<Flooded> } {
  const args = [FLOODER, String(port), String(size.sources), String(size.seconds), ids.join(',')];
  const child: ChildProcessByStdio<null, Readable, null> = spawn(process.execPath, args, {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  if (order === 'daemons first' && child.pid !== undefined) setPriority(child.pid, STANDS_BACK);
  let over = false;
  let flooded: Flooded | undefined;
  createInterface({ input: child.stdout }).on('line', (line) => {
    const said = JSON.parse(line) as Flooded & { readonly msg: string };
    if (said.msg === 'flooded') flooded = said;
  });
  const result = once(child, 'close').then(() => {
    over = true;
    if (flooded === undefined) throw new Error('the flooder ended early');
    return flooded;
  });
  return { isOver: () => over, result };
}

/** What else runs on this machine is no part of the measurement. Takes root; without it the machine had better be idle. */
function preferred(process: DaemonProcess): DaemonProcess {
  try {
    setPriority(process.pid, PREFERRED);
  } catch {
    // Not root.
  }
  return process;
}

/** VmHWM of the process, in MiB. */
async function highestRss({ pid }: DaemonProcess): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  return Math.round(Number(/VmHWM:\s+(\d+)/.exec(status)?.[1]) / 1024);
}
