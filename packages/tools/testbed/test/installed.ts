// What these tests start is what gets installed: each command as one bundle. It starts in a third
// of the time, too. Commands that only prepare or ask something share a process (`command-worker`).

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { bundle } from '@latchkey/release/bundle';
import { installCheckout } from '@latchkey/release/checkout';
import { mount, type Tree, writeTree } from '@latchkey/release/tree';

const NATIVES = ['fs-native-extensions', 'koffi', 'lmdb'];

export default async function install(): Promise<() => Promise<void>> {
  const folder = await mkdtemp(join(tmpdir(), 'latchkey-testbed-'));
  process.env['LATCHKEY_TESTBED_BIN'] = await installCheckout(folder);
  process.env['LATCHKEY_TESTBED_WORKER'] = await installWorker(folder);
  return () => rm(folder, { recursive: true });
}

async function installWorker(folder: string): Promise<string> {
  const tree: Tree = new Map();
  const entries = { 'command-worker': 'command-worker.js' };
  mount(tree, 'worker', (await bundle({ name: 'tools/testbed', entries, parts: {}, natives: NATIVES })).tree);
  for (const name of ['package.json', 'node_modules'])
    tree.set(`worker/${name}`, { link: `../lib/latchkey/auth-server/${name}` });
  await writeTree(tree, folder);
  return join(folder, 'worker/dist/command-worker.js');
}
