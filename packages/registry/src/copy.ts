/** Moves a registry between a folder and a database. No process serves from it during the move. */

import { rename } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { MOVE_NOTICED_MS } from '@latchkey/lmdb';
import type { Secret } from '@latchkey/protocol';
import { Failure, systemFailure, UsageFailure } from '@latchkey/runtime/failure';
import { ensurePrivateFolder, exists, lockFolder, syncFolderOf } from '@latchkey/runtime/files';
import { isoTime } from '@latchkey/runtime/iso-time';
import { type Actor, formatHead, headOf } from './audit-chain.js';
import { type VerifiedContents, verifiedContents } from './backup/verified-contents.js';
import type { ContentPage, RegistryContents } from './contents.js';
import { COPIED_STORE, COPYING_STORE, STORE_FOLDER } from './folder-names.js';
import { readContents } from './lmdb/contents.js';
import { fillStagedStore, putStagedStoreInPlace, removeStagedStore } from './lmdb/staged-store.js';
import { Tables } from './lmdb/tables.js';
import type { PostgresConfig } from './postgres/config.js';
import type { LastSeen, Seen } from './postgres/last-seen.js';
import { interruptedCopy, requireRegistry } from './registry-failures.js';
import { InDoubt } from './storage.js';

const COMMAND = 'latchkey-auth-server registry copy';
/** What becomes of `postgres.json` if it cannot be changed. */
const REMOVE = 'Remove it: it tells of another registry.';
const ADVICE = 'Nothing was changed. See what `audit verify` says of all of it.';

export interface CopyOptions {
  readonly postgres: PostgresConfig;
  readonly master: Secret;
  readonly actor: Actor;
}

export interface Copied {
  readonly nodes: number;
  readonly head: string;
  /**
   * The former place, from which nothing may serve any more: a folder, or a schema of the database.
   */
  readonly former: string;
}

/**
 * Copies the registry in `folder` into a database. Its store is renamed first, so that no command
 * changes it during the copy or afterwards. If the copy fails, the store is renamed back. If a copy
 * was interrupted, this one continues with the store that it renamed.
 */
export async function copyToDatabase(folder: string, { postgres, master, actor }: CopyOptions): Promise<Copied> {
  await requireStore(folder);
  const lock = await lockFolder(folder, COMMAND);
  try {
    const interrupted = await requireStore(folder);
    const store = interrupted ?? `${COPYING_STORE}${isoTime(Date.now()).replaceAll(':', '')}`;
    const lastSeen = await readLastSeen(folder);
    if (interrupted === undefined) await move(join(folder, STORE_FOLDER), join(folder, store));
    let copied: CopiedStore;
    try {
      // The lock keeps auth-servers out. The API and commands may have the store open.
      await pause(MOVE_NOTICED_MS);
      copied = await copyStore(folder, store, { postgres, master, actor });
    } catch (error) {
      // Two of them would go on from here.
      if (error instanceof InDoubt)
        throw new InDoubt(error.message, {
          advice:
            'Run the same `registry copy` again: it looks whether the registry is in the database, and ends what was begun.',
        });
      // An interrupted copy may have reached the database.
      if (interrupted === undefined) await move(join(folder, store), join(folder, STORE_FOLDER));
      throw error;
    }
    const { seen, nodes, head } = copied;
    const former = join(folder, store.replace(COPYING_STORE, COPIED_STORE));
    const where = `database ${postgres.database}`;
    await keepUp(where, join(folder, store), `Rename it to ${former}.`, () => move(join(folder, store), former));
    await keepUp(where, lastSeen.path, REMOVE, () => lastSeen.replace(seen));
    return { nodes, head, former };
  } finally {
    await lock.release();
  }
}

/** Returns the store of an interrupted copy, or `undefined` if the store is in its place. */
async function requireStore(folder: string): Promise<string | undefined> {
  const interrupted = await interruptedCopy(folder);
  if (interrupted === undefined) await requireRegistry(folder);
  return interrupted;
}

interface CopiedStore extends Omit<Copied, 'former'> {
  readonly seen: Seen;
}

async function copyStore(folder: string, store: string, { postgres, master, actor }: CopyOptions): Promise<CopiedStore> {
  const tables = await Tables.open(folder, actor, { store });
  try {
    const { fillDatabase } = await import('./postgres/whole-registry.js');
    const { taken, ...copied } = await verified(folder, readContents(tables), master, (contents) =>
      fillDatabase(postgres, { ...contents, pages: unlessWritten(folder, tables, contents) }),
    );
    return { ...copied, seen: taken };
  } finally {
    await tables.close();
  }
}

/** Pages that fail at their end if the store has later entries than these by then. */
async function* unlessWritten(folder: string, tables: Tables, { head, pages }: RegistryContents): AsyncGenerator<ContentPage> {
  yield* pages;
  tables.refreshSnapshot();
  if (Buffer.compare(tables.audit.head.hash, head.hash) === 0) return;
  throw new Failure(`the registry in ${folder} was changed while it was copied`, {
    advice: 'Nothing was copied. End the API and all commands that work on this folder, and try again.',
  });
}

/**
 * Copies the registry in a database into `folder`, which has none. The one in the database is put
 * aside in the same transaction that it is read in.
 */
export async function copyToFolder(folder: string, { postgres, master, actor }: CopyOptions): Promise<Copied> {
  await ensurePrivateFolder(folder);
  const lock = await lockFolder(folder, COMMAND);
  try {
    if (await exists(join(folder, STORE_FOLDER)))
      throw new UsageFailure(`${folder} holds a registry already`, { advice: 'Nothing was changed. Choose another folder.' });
    const lastSeen = await readLastSeen(folder);
    const { takeOutOfDatabase } = await import('./postgres/whole-registry.js');
    let copied: Omit<Copied, 'former'> | undefined;
    const name = `database ${postgres.database}`;
    const former = await takeOutOfDatabase(postgres, folder, async (contents) => {
      const { nodes, head } = await verified(name, contents, master, (checked) => fillStagedStore(folder, checked, actor));
      copied = { nodes, head };
    });
    try {
      await putStagedStoreInPlace(folder);
    } catch (error) {
      throw new Failure(`${systemFailure(`cannot write ${folder}`, error).message}; the registry is in schema ${former} only`, {
        advice: `To go on with the database: ALTER SCHEMA ${former} RENAME TO latchkey`,
      });
    }
    await keepUp(folder, lastSeen.path, REMOVE, () => lastSeen.forget());
    return { nodes: 0, head: 'none', ...copied, former };
  } finally {
    await removeStagedStore(folder);
    await lock.release();
  }
}

async function verified<T>(
  name: string,
  contents: RegistryContents,
  master: Secret,
  take: (contents: VerifiedContents) => Promise<T>,
): Promise<Omit<Copied, 'former'> & { readonly taken: T }> {
  try {
    const checked = await verifiedContents(contents, master, { name, advice: ADVICE });
    let taken: T;
    try {
      taken = await take(checked);
    } finally {
      await checked.close();
    }
    const head = headOf(checked.head);
    return { nodes: checked.nodes(), head: head === undefined ? 'none' : formatHead(head), taken };
  } finally {
    await contents.close();
  }
}

/** What this machine has seen of a registry in a database. */
async function readLastSeen(folder: string): Promise<LastSeen> {
  const { LastSeen } = await import('./postgres/last-seen.js');
  return LastSeen.read(folder);
}

/** The registry is in its new place by then, and stays there. */
async function keepUp(where: string, path: string, advice: string, change: () => Promise<void>): Promise<void> {
  try {
    await change();
  } catch (error) {
    throw new Failure(`the registry is in ${where}; ${systemFailure(`cannot change ${path}`, error).message}`, { advice });
  }
}

async function move(from: string, to: string): Promise<void> {
  await rename(from, to);
  await syncFolderOf(to);
}
