/** A registry on PostgreSQL in a process of its own, which commits when it is told to. */

import { readMasterKey } from '@latchkey/keyring';
import { Registry } from '@latchkey/registry';
import { openPostgresStorage } from '@latchkey/registry/postgres';
import { createLog } from '@latchkey/runtime/daemon';
import { prepareCommits } from '../registry/commits.js';
import { Fleet } from '../registry/fleet.js';
import type { WorkerAnswer, WorkerPlace, WorkerTask } from './commit-servers.js';

const { config, folder, masterKey, nodes, index, servers } = JSON.parse(process.argv[2] ?? '') as WorkerPlace;
const log = await createLog('bench', 'error', 'stderr');
const storage = await openPostgresStorage(config, { folder, log, serve: { name: `server ${index}`, version: 'bench' } });
const master = await readMasterKey({ kind: 'file', path: masterKey });
const registry = await Registry.openOn(storage, folder, master, 'bench', storage.clock);
const fleet = new Fleet(nodes);
let commit: (() => Promise<void>) | undefined;

function answer(what: WorkerAnswer): void {
  process.send?.(what);
}

async function work(task: WorkerTask): Promise<void> {
  if (task.what === 'prepare') {
    // Each server has nodes of its own: no two of them commit for one node.
    const own = fleet.pick(servers * task.commits).filter((i) => i % servers === index);
    commit = await prepareCommits(registry, fleet, own.slice(0, task.commits), task.inFlight);
    answer('ready');
  } else if (task.what === 'commit') {
    await commit?.();
    answer('done');
  } else {
    await registry.close();
    process.disconnect();
  }
}

process.on('message', (task: WorkerTask) => void work(task));
answer('ready');
