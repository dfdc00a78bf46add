/**
 * The memory of a pass-through controller, after many joins: a core file of the process has no
 * initial key and no PSK of any node, while SK_cs, which it does hold, is found there.
 */

import { execFile, spawnSync } from 'node:child_process';
import { open, readdir } from 'node:fs/promises';
import { promisify } from 'node:util';
import { readCredential } from '@latchkey/provisioning';
import { KeySearch } from '@latchkey/test-support/key-search';
import type { Campaign, Scale } from './campaign.js';
import { CONTROLLER, nodeOnDisk, SoakEnvironment, type SoakNode } from './environment.js';

const NODES: Readonly<Record<Scale, number>> = { full: 1_000, medium: 1_000, short: 50 };
/** All of a fleet have joined by then, in ms. */
const JOINS_TIMEOUT_MS = 3_600_000;
const KEY_LENGTH = 16;
const PIECE = 1 << 22;

/** Whether a core file can be written of a process that runs. */
export const HAS_GCORE: boolean = spawnSync('gcore', []).error === undefined;

export const coreDump: Campaign = async ({ scale, report }) => {
  if (!HAS_GCORE) return { counts: { 'not run': 'it takes gcore (Debian: apt-get install gdb)' }, failures: [] };
  const environment = await SoakEnvironment.create({ passThrough: true });
  const { network } = environment;
  try {
    const nodes = await environment.install({ count: NODES[scale] });
    const wanted = new KeySearch();
    const { skCs } = await readCredential(network.credential(CONTROLLER));
    wanted.add('SK_cs', skCs.expose());
    await addKeys(wanted, 'initial key', nodes);
    const [server, controller] = [environment.startAuthServer(), environment.startController()];
    await Promise.all([server.listening(), controller.listening()]);
    const fleet = await environment.startFleet('once', nodes);
    let joined = 0;
    await fleet.waitFor(({ msg }) => {
      if (msg === 'joined') report(`${(joined += 1)} joins`);
      return joined === nodes.length;
    }, JOINS_TIMEOUT_MS);
    await fleet.stop();
    await addKeys(wanted, 'PSK', nodes);

    const folder = network.path('core');
    await promisify(execFile)('gcore', ['-o', folder, String(controller.pid)], { maxBuffer: 1 << 26 });
    const name = (await readdir(network.path('.'))).find((file) => file.startsWith('core.'));
    if (name === undefined) throw new Error('gcore wrote no file');
    const octets = await searchIn(network.path(name), wanted);
    const found = wanted.found();
    return {
      counts: { joins: joined, 'keys looked for': 2 * nodes.length, 'core file, MiB': Math.round(octets / 2 ** 20) },
      failures: [
        ...(found.includes('SK_cs') ? [] : ['SK_cs is not found, so that the core file shows nothing']),
        ...found.filter((key) => key !== 'SK_cs').map((key) => `the core file has the ${key}`),
      ],
    };
  } finally {
    await network.remove();
  }
};

async function addKeys(wanted: KeySearch, what: string, nodes: readonly SoakNode[]): Promise<void> {
  for (const node of nodes) {
    const { state } = await nodeOnDisk(node);
    wanted.add(`${what} of node ${node.id}`, state.confirmed.expose());
  }
}

/** Gives how many octets the file has. Pieces overlap, so that no key lies across two. */
async function searchIn(path: string, wanted: KeySearch): Promise<number> {
  const file = await open(path, 'r');
  try {
    const { size } = await file.stat();
    const piece = Buffer.alloc(PIECE);
    for (let at = 0; at < size; at += PIECE - KEY_LENGTH) {
      const { bytesRead } = await file.read(piece, 0, PIECE, at);
      wanted.search(piece.subarray(0, bytesRead));
    }
    return size;
  } finally {
    await file.close();
  }
}
