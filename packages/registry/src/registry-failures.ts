/** Failures about the folder of a registry, or about requests to it, with advice. */

import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { formatId } from '@latchkey/protocol';
import { exists } from '@latchkey/runtime/files';
import { Failure, NotFound, UsageFailure } from '@latchkey/runtime/failure';
import { STORE_FILE } from '@latchkey/lmdb';
import { STORE_FOLDER } from './lmdb/tables.js';

/** Checks that the folder holds a registry, before the master key is requested. */
export async function requireRegistry(folder: string): Promise<void> {
  if (await exists(join(folder, STORE_FOLDER, STORE_FILE))) return;
  throw ((await exists(folder)) ? await describeMisplacedStore(folder) : undefined) ?? registryNotFound(folder);
}

/**
 * Describes a folder whose store exists only under other names: `restore --replace` was killed
 * between its two renames. Returns `undefined` if no such store exists.
 */
export async function describeMisplacedStore(folder: string): Promise<UsageFailure | undefined> {
  const folders = (await readdir(folder, { withFileTypes: true })).filter((there) => there.isDirectory());
  const names = folders.map(({ name }) => name).filter((name) => name.startsWith(`${STORE_FOLDER}-`));
  if (names.length === 0) return undefined;
  return new UsageFailure(`${folder} holds no ${STORE_FOLDER}, but ${names.toSorted().join(', ')}`, {
    advice: `Nothing was changed. Restore a backup, or rename the one that is to serve to ${STORE_FOLDER}. Before you make a new one, move them away.`,
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
