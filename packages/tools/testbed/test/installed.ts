// What these tests start is what gets installed: each command as one bundle. It starts in a third
// of the time, too. Commands that only prepare or ask something share a process (`command-worker`).
//
// Bundling takes longer than many a test file. The result is therefore kept in node_modules, under
// a hash of the files that it is made of.

import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, rename, rm, stat, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { bundle } from '@latchkey/release/bundle';
import { installCheckout } from '@latchkey/release/checkout';
import { mount, type Tree, writeTree } from '@latchkey/release/tree';

const NATIVES = ['fs-native-extensions', 'koffi', 'lmdb'];
const ROOT = join(import.meta.dirname, '../../../..');
const CACHE = join(ROOT, 'node_modules/.cache/latchkey-testbed');
/** Longer than tests run, in ms: what was not used for so long is in no use. */
const UNUSED_MS = 6 * 3_600_000;

export default async function install(): Promise<void> {
  await mkdir(CACHE, { recursive: true });
  const folder = join(CACHE, await hashOfSources());
  if (!existsSync(folder)) await installInto(folder);
  const now = new Date();
  await utimes(folder, now, now);
  await removeUnused(now.getTime());
  process.env['LATCHKEY_TESTBED_BIN'] = join(folder, 'bin');
  process.env['LATCHKEY_TESTBED_WORKER'] = join(folder, 'worker/dist/command-worker.js');
}

/** Paths, sizes and times of all that is bundled, and what says which libraries there are. */
async function hashOfSources(): Promise<string> {
  const folders = ['', 'tools/'].map((under) => join(ROOT, 'packages', under));
  const packages = (
    await Promise.all(folders.map(async (folder) => (await readdir(folder)).map((name) => join(folder, name))))
  ).flat();
  const parts = [
    ...packages.flatMap((path) => ['package.json', 'dist', 'src'].map((name) => join(path, name))),
    join(ROOT, 'pnpm-lock.yaml'),
  ];
  const hash = createHash('sha256').update(`${process.version} ${ROOT}\n`);
  for (const part of parts) for (const line of await describe(part)) hash.update(line);
  return hash.digest('hex').slice(0, 16);
}

async function describe(path: string): Promise<string[]> {
  const info = await stat(path).catch(() => undefined);
  if (info === undefined) return [];
  if (!info.isDirectory()) return [`${path} ${info.size} ${info.mtimeMs}\n`];
  return (await Promise.all((await readdir(path)).toSorted().map((name) => describe(join(path, name))))).flat();
}

/** Another run may be about to do the same: the one that is ready first is used. */
async function installInto(folder: string): Promise<void> {
  const part = await mkdtemp(`${folder}.`);
  await installCheckout(part);
  await installWorker(part);
  try {
    await rename(part, folder);
  } catch (error) {
    await rm(part, { recursive: true });
    if (!existsSync(folder)) throw error;
  }
}

async function removeUnused(now: number): Promise<void> {
  for (const name of await readdir(CACHE)) {
    const path = join(CACHE, name);
    const info = await stat(path).catch(() => undefined);
    if (info !== undefined && info.mtimeMs < now - UNUSED_MS) await rm(path, { recursive: true, force: true });
  }
}

async function installWorker(folder: string): Promise<void> {
  const tree: Tree = new Map();
  const entries = { 'command-worker': 'command-worker.js' };
  mount(tree, 'worker', (await bundle({ name: 'tools/testbed', entries, parts: {}, natives: NATIVES })).tree);
  for (const name of ['package.json', 'node_modules'])
    tree.set(`worker/${name}`, { link: `../lib/latchkey/auth-server/${name}` });
  await writeTree(tree, folder);
}
