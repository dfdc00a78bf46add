/** A registry on LMDB, copied into a database so that several auth-servers can serve from it. */

import { rename } from 'node:fs/promises';
import { join } from 'node:path';
import { countEntries } from '@latchkey/lmdb';
import type { Secret } from '@latchkey/protocol';
import { Failure } from '@latchkey/runtime/failure';
import { lockFolder, syncFolderOf } from '@latchkey/runtime/files';
import { isoTime } from '@latchkey/runtime/iso-time';
import { type Actor, formatHead } from './audit-chain.js';
import { readContents } from './lmdb/contents.js';
import { LmdbStorage } from './lmdb/lmdb-storage.js';
import { STORE_FOLDER, Tables } from './lmdb/tables.js';
import type { PostgresConfig } from './postgres/config.js';
import { Registry } from './registry.js';
import { requireRegistry } from './registry-failures.js';

export interface Copied {
  readonly nodes: number;
  readonly head: string;
  /** Where the store is now that nobody is to serve from any more. */
  readonly formerStore: string;
}

/**
 * Copies the registry in `folder`, which nobody serves from. Its store is put aside first, so that
 * no command changes it meanwhile or afterwards; if the copy fails, it is put back.
 */
export async function copyToDatabase(
  folder: string,
  { postgres, master, actor }: { readonly postgres: PostgresConfig; readonly master: Secret; readonly actor: Actor },
): Promise<Copied> {
  await requireRegistry(folder);
  const lock = await lockFolder(folder, 'latchkey-auth-server registry copy');
  const store = `${STORE_FOLDER}-copied-${isoTime(Date.now()).replaceAll(':', '')}`;
  const formerStore = join(folder, store);
  try {
    await move(join(folder, STORE_FOLDER), formerStore);
    try {
      return { ...(await copyStore(folder, store, postgres, master, actor)), formerStore };
    } catch (error) {
      await move(formerStore, join(folder, STORE_FOLDER));
      throw error;
    }
  } finally {
    await lock.release();
  }
}

async function copyStore(
  folder: string,
  store: string,
  postgres: PostgresConfig,
  master: Secret,
  actor: Actor,
): Promise<Omit<Copied, 'formerStore'>> {
  const tables = await Tables.open(folder, actor, { store });
  const registry = await Registry.openOn(new LmdbStorage(tables), folder, master, actor);
  try {
    for await (const problem of registry.audit.verify())
      throw new Failure(`the audit log in ${folder} does not hold: ${problem}`, {
        advice: 'Nothing was changed. See what `audit verify` says of all of it.',
      });
    await tables.upgrade();
    const { fillDatabase } = await import('./postgres/fill.js');
    await fillDatabase(postgres, readContents(tables));
    const head = await registry.audit.readHead();
    return { nodes: countEntries(tables.nodes), head: head === undefined ? 'none' : formatHead(head) };
  } finally {
    await registry.close();
  }
}

async function move(from: string, to: string): Promise<void> {
  await rename(from, to);
  await syncFolderOf(to);
}
