/** Failures about the folder of a registry, or about requests to it, with advice. */

import type { Dirent } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { formatId } from '@latchkey/protocol';
import { exists } from '@latchkey/runtime/files';
import { Failure, NotFound, UsageFailure } from '@latchkey/runtime/failure';
import { STORE_FILE } from '@latchkey/lmdb';
import { COPIED_STORE, COPYING_STORE, LAST_SEEN_FILE, STAGED_STORE, STORE_FOLDER } from './folder-names.js';

/** Checks that the folder holds a registry, before the master key is requested. */
export async function requireRegistry(folder: string): Promise<void> {
  if (await exists(join(folder, STORE_FOLDER, STORE_FILE))) return;
  throw ((await exists(folder)) ? await describeMisplacedStore(folder) : undefined) ?? registryNotFound(folder);
}

/**
 * Describes a folder whose registry is elsewhere: in a database, or in a store of another name that
 * `restore` or `registry copy` left when it was killed. Returns `undefined` if there is no sign of
 * a registry.
 */
export async function describeMisplacedStore(folder: string): Promise<UsageFailure | undefined> {
  const entries = await readdir(folder, { withFileTypes: true });
  const names = storesAside(entries);
  const isCopied = !names.some((name) => name.startsWith(COPYING_STORE));
  if (isCopied && entries.some(({ name }) => name === LAST_SEEN_FILE)) return inDatabase(folder);
  if (names.length === 0) return undefined;
  return new UsageFailure(`${folder} holds no ${STORE_FOLDER}, but ${names.join(', ')}`, {
    advice: `Nothing was changed. ${adviceOnStores(names)} Before you make a new one, move them away.`,
  });
}

/**
 * Name of the store that an interrupted `registry copy` was copying into a database. Returns
 * `undefined` if none was interrupted.
 */
export async function interruptedCopy(folder: string): Promise<string | undefined> {
  if (!(await exists(folder))) return undefined;
  const entries = await readdir(folder, { withFileTypes: true });
  if (entries.some(({ name }) => name === STORE_FOLDER)) return undefined;
  return storesAside(entries).findLast((name) => name.startsWith(COPYING_STORE));
}

/** Stores that are not in their place, the oldest of each kind first. */
function storesAside(entries: readonly Dirent[]): string[] {
  const names = entries.filter((there) => there.isDirectory()).map(({ name }) => name);
  return names.filter((name) => name.startsWith(`${STORE_FOLDER}-`)).toSorted();
}

function adviceOnStores(names: readonly string[]): string {
  const areThere = (begin: string): boolean => names.some((name) => name.startsWith(begin));
  const others = names.filter((name) => ![COPYING_STORE, COPIED_STORE, STAGED_STORE].some((begin) => name.startsWith(begin)));
  return [
    areThere(COPYING_STORE) &&
      'Run the same `registry copy` again: the registry may be in the database by now, and the command ends what was begun.',
    areThere(STAGED_STORE) && `${STAGED_STORE} is not whole: repeat the restore or the copy that was ended.`,
    areThere(COPIED_STORE) && `What is in ${COPIED_STORE}* went on in a database: name it with --config.`,
    others.length > 0 && `Restore a backup, or rename the one that is to serve to ${STORE_FOLDER}.`,
  ]
    .filter((text) => text !== false)
    .join(' ');
}

function inDatabase(folder: string): UsageFailure {
  return new UsageFailure(`the registry of ${folder} is in a database`, {
    advice: `Nothing was changed. Name the database with --config, or with --data postgres://... and --local-data ${folder}. Any store in the folder is older than the database. For another registry in this folder, move ${LAST_SEEN_FILE} away first.`,
  });
}

export function registryNotFound(folder: string): UsageFailure {
  // No command with this path: if it is mistyped, pasting that would make a new registry there.
  return new UsageFailure(`${folder} holds no registry`, {
    advice: 'Check the path: --data, or LATCHKEY_DATA. How a new registry is made:',
    run: [['latchkey-auth-server', 'init', '--help']],
  });
}

/** Of what only LMDB has. */
export function notInFolder(): Failure {
  return new Failure('the registry is in a database, and this is for one in a folder', {
    advice: 'Nothing was changed. What takes its place: docs/OPERATIONS.md, "Several auth-servers".',
  });
}

export function schemaMismatch(folder: string, schema: number, known: number): Failure {
  return new Failure(`the registry in ${folder} has schema ${schema}; this version of Latchkey reads schema ${known}`, {
    advice: 'Nothing was changed. Use the version of Latchkey that wrote the registry.',
  });
}

export function notFound(what: 'node' | 'controller', id: number): NotFound {
  return new NotFound(`${what} ${formatId(id)} is not in the registry`, {
    advice: 'List them:',
    run: [['latchkey-auth-server', what, 'list']],
  });
}

/** An ID that was free when the order or import began. */
export function idTaken(idI: number): Failure {
  return new Failure(`node ${formatId(idI)} was added meanwhile`, { advice: 'Nothing was changed. Try again.' });
}

export function noLongerPending(order: number): Failure {
  return new Failure(`another order or import has cleared away order ${order} before it was finished`, {
    advice: 'Nothing was changed. Try again.',
  });
}
