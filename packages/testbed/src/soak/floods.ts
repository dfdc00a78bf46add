/**
 * M1 at full speed from 10,000 sources that do not exist, for unknown IDs, known ones, and one node above all; and all the while honest
 * nodes join, that one among them. Controller and auth-server must stay within the memory they were given, each join within 10 s.
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
import type { Campaign, Scale } from './campaign.js';
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
const FLOODER = fileURLToPath(new URL('../../dist/soak/flooder.js', import.meta.url));

interface Flooded {
  readonly sent: number;
  readonly answers: number;
  readonly perSecond: number;
}

export const floods: Campaign = async ({ scale, say }) => {
  const size = SIZES[scale];
  const ground = await Ground.create();
  try {
    const known = await ground.install({ count: size.knownNodes });
    const [targeted, ...others] = known;
    if (targeted === undefined) throw new Error('no node to aim at');
    const [server, controller] = [ground.startAuthServer(), ground.startController()];
    await Promise.all([server.listening(), controller.listening()]);
    for (const daemon of [server, controller]) preferred(daemon);

    const flooder = startFlooder(ground, size, idsToFlood(targeted, others));
    const joins: number[] = [];
    for (let i = 0; !flooder.isOver(); i++) {
      // The one that all aim at every other time; the rest have not joined before.
      const node = i % 2 === 0 ? targeted : others.pop();
      if (node === undefined) break;
      joins.push(await joinTime(ground, node));
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
        'honest joins meanwhile': joins.length,
        'the slowest, ms': Math.max(...joins),
        'half of them within, ms': joins.toSorted((a, b) => a - b)[Math.floor(joins.length / 2)] ?? NaN,
        'most resident memory of the controller, MiB': highest.controller,
        'most resident memory of the auth-server, MiB': highest.server,
      },
      failures: [
        ...(slow.length > 0 ? [`${slow.length} of ${joins.length} joins took longer than 10 s: ${slow.join(', ')} ms`] : []),
        ...Object.entries(highest)
          .filter(([, mib]) => mib > DEFAULT_MEMORY)
          .map(([name, mib]) => `the ${name} had ${mib} MiB resident, of ${DEFAULT_MEMORY}`),
        ...[server, controller].filter(({ noise }) => noise !== '').map(({ name, noise }) => `${name}: ${noise}`),
      ],
    };
  } finally {
    await ground.network.remove();
  }
};

function idsToFlood(targeted: SoakNode, others: readonly SoakNode[]): string[] {
  const ids = others.slice(0, 1_000).map(({ id }) => id);
  return [...ids, ...Array.from({ length: Math.round(ids.length * (TARGETED / (1 - TARGETED))) }, () => targeted.id)];
}

function startFlooder(
  ground: Ground,
  size: Size,
  ids: readonly string[],
): { isOver(): boolean; readonly result: Promise<Flooded> } {
  const { port } = endpoint(ground.controllerAddress);
  const args = [FLOODER, String(port), String(size.sources), String(size.seconds), ids.join(',')];
  const child: ChildProcessByStdio<null, Readable, null> = spawn(process.execPath, args, {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
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

/** From the start of the node's agent until it has joined, in ms. */
async function joinTime(ground: Ground, node: SoakNode): Promise<number> {
  const began = performance.now();
  const fleet = await ground.startFleet('once', [node]);
  preferred(fleet);
  await fleet.waitFor(({ msg }) => msg === 'joined', PATIENCE_MS).catch(() => undefined);
  const took = Math.round(performance.now() - began);
  await fleet.stop();
  return took;
}

/** What else runs on this machine is no part of the measurement. Takes root; without it the machine had better be idle. */
function preferred({ pid }: DaemonProcess): void {
  try {
    setPriority(pid, PREFERRED);
  } catch {
    // Not root.
  }
}

/** VmHWM of the process, in MiB. */
async function highestRss({ pid }: DaemonProcess): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  return Math.round(Number(/VmHWM:\s+(\d+)/.exec(status)?.[1]) / 1024);
}
