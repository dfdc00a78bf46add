/**
 * A registry in one file, as it was at one moment, its keys still sealed; and such a file put back.
 */

import { createHash, randomBytes } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { appendFile, copyFile, mkdir, open, rename, rm, truncate } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import type { Secret } from '@latchkey/protocol';
import {
  checkPrivateFile,
  exists,
  linkIntoPlace,
  lockFolder,
  ensurePrivateFolder,
  removeOnSignal,
  syncFolderOf,
} from '@latchkey/runtime/files';
import { type Clock, readClock } from '@latchkey/runtime/daemon';
import { Failure, systemFailure, UsageFailure } from '@latchkey/runtime/failure';
import { checkStore, DamagedStore, countEntries, STORE_FILE } from '@latchkey/lmdb';
import { type Actor, type Head, headOf } from '../audit-chain.js';
import { isoTime } from '@latchkey/runtime/iso-time';
import { unsealController, unsealInstallerHalf, unsealNodeKey, wipeKeys } from '../model/rows.js';
import { Registry, SCHEMA } from '../registry.js';
import { markRestored } from '../restored.js';
import { LmdbStorage } from './lmdb-storage.js';
import { restoreAdvice, STORE_FOLDER, Tables } from './tables.js';

/**
 * A backup is LMDB's own file, then this, then the SHA-256 of what comes before: LMDB itself has no
 * checksums.
 */
const TRAILER: Buffer = Buffer.from('latchkey backup\n');
const HASH_LENGTH = 32;

/**
 * Writes a backup to the new file `path`, mode 0600, while the server goes on. Gives the HEAD of
 * the log in it.
 */
export async function backup(registry: Registry, path: string): Promise<Head> {
  const { tables } = registry;
  if (await exists(path))
    throw new UsageFailure(`${path} exists already`, { advice: 'Nothing was written. Choose another name.' });
  const stagingFolder = join(dirname(path), `.${basename(path)}.${randomBytes(4).toString('hex')}`);
  const copy = join(stagingFolder, STORE_FILE);
  const removeSignalCleanup = removeOnSignal(stagingFolder);
  try {
    await mkdir(stagingFolder, { mode: 0o700 });
    await checkStore(join(tables.folder, STORE_FOLDER), tables.env, restoreAdvice(tables.folder));
    await registry.record({ what: 'registry backed up', note: basename(path) });
    tables.refreshSnapshot();
    const head = headOf(tables.audit.head);
    await copyStore(tables, stagingFolder);
    await appendTrailer(copy);
    await linkIntoPlace(copy, path);
    await syncFolderOf(path);
    return head ?? { seq: 0, hash: '' };
  } catch (error) {
    throw systemFailure(`cannot write ${path}`, error);
  } finally {
    await rm(stagingFolder, { recursive: true, force: true });
    removeSignalCleanup();
  }
}

/**
 * Leaves out what is free. LMDB does so only if it can account for every page: a page that is
 * neither used nor free harms nobody, and the copy then takes all pages as they are.
 */
async function copyStore({ env }: Tables, folder: string): Promise<void> {
  try {
    await env.backup(folder, true);
  } catch (error) {
    if (!(error instanceof Error && error.message.startsWith('MDB_INCOMPATIBLE'))) throw error;
    await rm(join(folder, STORE_FILE));
    await env.backup(folder, false);
  }
}

async function appendTrailer(path: string): Promise<void> {
  const hash = await hashPrefix(path, Infinity);
  await appendFile(path, Buffer.concat([TRAILER, hash]));
  const file = await open(path, 'r+');
  try {
    await file.chmod(0o600);
    await file.sync();
  } finally {
    await file.close();
  }
}

/** SHA-256 of the first `length` octets. */
async function hashPrefix(path: string, length: number): Promise<Buffer> {
  const hash = createHash('sha256');
  if (length > 0) await pipeline(createReadStream(path, { end: length - 1 }), hash);
  return hash.digest();
}

/**
 * How many octets of a backup are the store's. Refuses what is no backup, or not as it was written.
 */
async function verifyBackup(path: string): Promise<number> {
  const file = await open(path, 'r');
  try {
    const length = (await file.stat()).size - TRAILER.length - HASH_LENGTH;
    const { buffer } = await file.read(
      Buffer.alloc(TRAILER.length + HASH_LENGTH),
      0,
      TRAILER.length + HASH_LENGTH,
      Math.max(length, 0),
    );
    if (length < 0 || !buffer.subarray(0, TRAILER.length).equals(TRAILER)) {
      throw new Failure(`${path} is not a backup of a registry, or was cut short`, {
        advice: 'Nothing was changed. Use another backup.',
      });
    }
    if (!(await hashPrefix(path, length)).equals(buffer.subarray(TRAILER.length))) {
      throw new Failure(`${path} is damaged: it is not what was written`, { advice: 'Nothing was changed. Use another backup.' });
    }
    return length;
  } finally {
    await file.close();
  }
}

export interface RestoreOptions {
  readonly folder: string;
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
  /** Where the registry that was there is now. */
  readonly previousFolder: string | undefined;
}

/**
 * Makes `folder` a registry again from a backup, which is looked at in full before anything is
 * replaced.
 */
export async function restore(
  path: string,
  { folder, master, actor, replace, clock = readClock }: RestoreOptions,
): Promise<RestoredFrom> {
  if (!(await exists(path))) throw new UsageFailure(`${path} is not there`, { advice: 'Check the path.' });
  await checkPrivateFile(path);
  const length = await verifyBackup(path);
  await ensurePrivateFolder(folder);
  const lock = await lockFolder(folder, 'latchkey-auth-server restore');
  try {
    const isOccupied = await exists(join(folder, STORE_FOLDER));
    if (isOccupied && !replace) {
      throw new UsageFailure(`${folder} holds a registry already`, {
        advice: 'Nothing was changed. Restore into another folder, or put the one there aside with --replace.',
      });
    }
    const staging = `${STORE_FOLDER}-restoring`;
    await rm(join(folder, staging), { recursive: true, force: true });
    await ensurePrivateFolder(join(folder, staging));
    const target = join(folder, staging, STORE_FILE);
    await copyFile(path, target)
      .then(() => truncate(target, length))
      .catch((error: unknown) => {
        throw systemFailure(`cannot copy ${path}`, error);
      });
    const { backupAt, nodes } = await verifyAndMarkRestored(
      path,
      await openCopy(path, folder, actor, staging),
      master,
      actor,
      clock().wallMs,
    );
    const previousFolder = isOccupied
      ? join(folder, `${STORE_FOLDER}-before-${isoTime(Date.now()).replaceAll(':', '')}`)
      : undefined;
    if (previousFolder !== undefined) await rename(join(folder, STORE_FOLDER), previousFolder);
    await rename(join(folder, staging), join(folder, STORE_FOLDER));
    await syncFolderOf(join(folder, STORE_FOLDER));
    return { backupAt, nodes, previousFolder };
  } finally {
    await rm(join(folder, `${STORE_FOLDER}-restoring`), { recursive: true, force: true });
    await lock.release();
  }
}

async function openCopy(path: string, folder: string, actor: Actor, store: string): Promise<Tables> {
  try {
    return await Tables.open(folder, actor, { store });
  } catch (error) {
    if (!(error instanceof DamagedStore)) throw error;
    const advice = 'Nothing was changed. Use another backup.';
    throw new Failure(`${path} is a backup of a store that was damaged: ${error.what}`, { advice });
  }
}

/**
 * Examines what was copied: its version, its master key, its audit log, every key; and notes in it
 * that it was restored.
 */
async function verifyAndMarkRestored(
  path: string,
  tables: Tables,
  master: Secret,
  actor: Actor,
  now: number,
): Promise<{ readonly backupAt: number; readonly nodes: number }> {
  const schema = tables.metadata.get('schema') as number | undefined;
  if (schema !== SCHEMA) {
    await tables.close();
    const what = schema === undefined ? 'not a backup of a registry' : `of schema ${schema}; this version has ${SCHEMA}`;
    throw new Failure(`${path} is ${what}`, {
      advice: 'Nothing was changed. Restore it with the version of Latchkey that wrote it.',
    });
  }
  const registry = await Registry.openOn(new LmdbStorage(tables), path, master, actor);
  try {
    const { keyring, audit } = registry;
    for await (const problem of audit.verify())
      throw new Failure(`the audit log in ${path} does not hold: ${problem}`, {
        advice: 'Nothing was changed. Use another backup.',
      });
    for (const { key, value } of tables.nodes.getRange()) {
      unsealNodeKey(keyring, key, value).wipe();
      unsealInstallerHalf(keyring, key, value)?.wipe();
    }
    for (const { key, value } of tables.controllers.getRange()) wipeKeys(unsealController(keyring, key, value));
    const [backupAt, nodes] = [await audit.readLastWrittenAt(), countEntries(tables.nodes)];
    // What controllers have heard of may be undone.
    await tables.write(() => tables.assignments.redrawIncarnation());
    await markRestored(registry, now);
    return { backupAt, nodes };
  } finally {
    await registry.close();
  }
}
