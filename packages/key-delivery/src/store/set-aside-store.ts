/** A damaged store, of which its daemon makes another. */

import { readdir, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { DamagedStore } from '@latchkey/lmdb';
import type { Log } from '@latchkey/runtime/daemon';
import { systemFailure } from '@latchkey/runtime/failure';
import { syncFolderOf } from '@latchkey/runtime/files';

/** In the name of a store that was put aside, before the time. */
const DAMAGED = '-damaged-';

/** Renames the folder of a damaged store, and removes one that was renamed before. */
export async function putAside(path: string, damage: DamagedStore, log: Log): Promise<void> {
  const aside = `${path}${DAMAGED}${new Date().toISOString().replaceAll(':', '')}`;
  try {
    const earlier = (await readdir(dirname(path))).filter((name) => name.startsWith(`${basename(path)}${DAMAGED}`));
    await rename(path, aside);
    await syncFolderOf(path);
    for (const name of earlier) await rm(join(dirname(path), name), { recursive: true });
  } catch (error) {
    throw systemFailure(`cannot put the store ${path} aside`, error);
  }
  log.error(
    { aside, advice: 'Check the disk. Nodes join as before, and the keys come back from the registry.' },
    `${damage.message}; it was put aside`,
  );
}
