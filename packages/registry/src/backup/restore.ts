/** Makes a registry from a backup, in a folder or in a database: all of it, or nothing. */

import { rename } from 'node:fs/promises';
import { join } from 'node:path';
import { type ClockHistory, EMPTY_HISTORY, type Secret } from '@latchkey/protocol';
import { type Clock, readClock } from '@latchkey/runtime/daemon';
import { UsageFailure } from '@latchkey/runtime/failure';
import { checkPrivateFile, ensurePrivateFolder, exists, lockFolder } from '@latchkey/runtime/files';
import { isoTime } from '@latchkey/runtime/iso-time';
import { type Actor, chainEntry } from '../audit-chain.js';
import type { ContentPage, RegistryContents } from '../contents.js';
import { fillStagedStore, putStagedStoreInPlace, removeStagedStore } from '../lmdb/staged-store.js';
import { STORE_FOLDER } from '../folder-names.js';
import type { PostgresConfig } from '../postgres/config.js';
import { restoreMarks } from '../restored.js';
import { openBackup } from './backup-format.js';
import { type VerifiedContents, verifiedContents } from './verified-contents.js';

export interface RestoreOptions {
  /** Of the registry, or of this machine if the registry is in a database. */
  readonly folder: string;
  readonly postgres?: PostgresConfig | undefined;
  readonly master: Secret;
  readonly actor: Actor;
  /** Puts aside a registry that is there, instead of refusing. */
  readonly replace: boolean;
  readonly clock?: Clock;
}

export interface RestoredFrom {
  /** ms since the epoch. */
  readonly backupAt: number;
  readonly nodes: number;
  /** Place of the former registry: a folder, or a schema of the database. */
  readonly previous: string | undefined;
}

/**
 * Restores a registry from a backup. The whole backup is validated before the registry exists: its
 * version, its master key, its audit log, every key.
 */
export async function restore(
  path: string,
  { folder, postgres, master, actor, replace, clock = readClock }: RestoreOptions,
): Promise<RestoredFrom> {
  if (!(await exists(path))) throw new UsageFailure(`${path} is not there`, { advice: 'Check the path.' });
  await checkPrivateFile(path);
  const file = await openBackup(path);
  try {
    const source = { name: path, advice: 'Nothing was changed. Use another backup.' };
    const backup = await verifiedContents(file, master, source);
    try {
      const previous = await restoreInto({ folder, postgres, replace, actor }, (now) => marked(backup, actor, now), clock);
      return { backupAt: backup.head.at, nodes: backup.nodes(), previous };
    } finally {
      await backup.close();
    }
  } finally {
    await file.close();
  }
}

/** `contents`: converted for a restore at this time, in ms since the epoch. */
async function restoreInto(
  { folder, postgres, replace, actor }: Pick<RestoreOptions, 'folder' | 'postgres' | 'replace' | 'actor'>,
  contents: (now: number) => RegistryContents,
  clock: Clock,
): Promise<string | undefined> {
  await ensurePrivateFolder(folder);
  const lock = await lockFolder(folder, 'latchkey-auth-server restore');
  try {
    if (postgres === undefined) return await restoreIntoFolder(folder, contents(clock().wallMs), actor, replace);
    const { restoreDatabase } = await import('../postgres/whole-registry.js');
    return await restoreDatabase(postgres, folder, contents, replace);
  } finally {
    await lock.release();
  }
}

async function restoreIntoFolder(
  folder: string,
  contents: RegistryContents,
  actor: Actor,
  replace: boolean,
): Promise<string | undefined> {
  const isOccupied = await exists(join(folder, STORE_FOLDER));
  if (isOccupied && !replace) {
    throw new UsageFailure(`${folder} holds a registry already`, {
      advice: 'Nothing was changed. Restore into another folder, or put the one there aside with --replace.',
    });
  }
  try {
    await fillStagedStore(folder, contents, actor);
    const previous = isOccupied ? join(folder, `${STORE_FOLDER}-before-${isoTime(Date.now()).replaceAll(':', '')}`) : undefined;
    if (previous !== undefined) await rename(join(folder, STORE_FOLDER), previous);
    await putStagedStoreInPlace(folder);
    return previous;
  } finally {
    await removeStagedStore(folder);
  }
}

/** What is in a backup, with the notes that it was restored. */
function marked({ start, head, metadata, keyring, pages, close }: VerifiedContents, actor: Actor, now: number): RegistryContents {
  const history = (metadata.get('clock history') ?? EMPTY_HISTORY) as ClockHistory;
  const marks = restoreMarks(head, history, keyring, now);
  const entry = chainEntry(head, marks.event, actor, now);
  return { start, head: entry.head, pages: withMarks(), close };

  async function* withMarks(): AsyncGenerator<ContentPage> {
    for await (const page of pages)
      yield page.table === 'metadata' ? { table: 'metadata', rows: [...new Map([...page.rows, ...marks.metadata])] } : page;
    yield { table: 'entries', rows: [[entry.head.seq, entry.octets]] };
  }
}
