/** A store that is filled under another name, and serves from nowhere until it is whole. */

import { rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { ensurePrivateFolder, syncFolderOf } from '@latchkey/runtime/files';
import type { Actor } from '../audit-chain.js';
import type { RegistryContents } from '../contents.js';
import { fillTables } from './contents.js';
import { STAGED_STORE, STORE_FOLDER } from '../folder-names.js';
import { Tables } from './tables.js';

/** Removes the staged store that a killed process left, first. The folder is locked. */
export async function fillStagedStore(folder: string, contents: RegistryContents, actor: Actor): Promise<void> {
  await removeStagedStore(folder);
  await ensurePrivateFolder(join(folder, STAGED_STORE));
  const tables = await Tables.open(folder, actor, { store: STAGED_STORE });
  try {
    await fillTables(tables, contents);
  } finally {
    await tables.close();
  }
}

/** From here on it is the registry of the folder. */
export async function putStagedStoreInPlace(folder: string): Promise<void> {
  await rename(join(folder, STAGED_STORE), join(folder, STORE_FOLDER));
  await syncFolderOf(join(folder, STORE_FOLDER));
}

export async function removeStagedStore(folder: string): Promise<void> {
  await rm(join(folder, STAGED_STORE), { recursive: true, force: true });
}
