/** LMDB, opened the one way that is safe here, with errors a person can act on. */

import { access, chmod, constants } from 'node:fs/promises';
import { join } from 'node:path';
import { getSystemErrorName } from 'node:util';
import { checkPrivateFile, exists, type Failure, openFolder, systemFailure } from '@latchkey/runtime';
import { type Key, open, type RootDatabase, type RootDatabaseOptions } from 'lmdb';

/** The file that holds the data of a store in a folder. */
export const STORE_FILE = 'data.mdb';

/**
 * - `overlappingSync: false`: a write is visible to nobody before it is on the disk (docs/decisions/0002).
 * - `eventTurnBatching: false`: otherwise a failed commit rejects a promise of lmdb's own that nobody can catch. Transactions
 *   that are queued together share one sync all the same.
 */
const SAFE = { overlappingSync: false, eventTurnBatching: false } as const;

/** Opens the store in `path`, or makes one. Refuses one whose file others can read. */
export async function openStore<V, K extends Key>(
  path: string,
  options: Omit<RootDatabaseOptions, 'path'> = {},
): Promise<RootDatabase<V, K>> {
  const file = join(path, STORE_FILE);
  try {
    // LMDB would say less, and later.
    if (await exists(path)) await access(path, constants.R_OK | constants.W_OK);
    if (await exists(file)) await access(file, constants.R_OK | constants.W_OK);
    await checkPrivateFile(file);
    quietLmdb();
    // LMDB makes its files with the mode the umask leaves: inside a folder nobody else enters, and closed before a key is in them.
    await openFolder(path);
    const store = open<V, K>({ ...options, ...SAFE, path });
    await Promise.all([chmod(file, 0o600), chmod(join(path, 'lock.mdb'), 0o600)]);
    return store;
  } catch (error) {
    throw systemFailure(`cannot open the store ${path}`, error);
  }
}

/** What a write that failed means. lmdb's own error says why in a promise beside it, by number. */
export async function writeFailure(path: string, error: unknown): Promise<Failure> {
  const cause: unknown =
    error instanceof Error && 'commitError' in error ? await Promise.resolve(error.commitError).catch((e: unknown) => e) : error;
  if (cause instanceof Error && 'code' in cause && typeof cause.code === 'number' && cause.code > 0) {
    return systemFailure(`cannot write to the store ${path}`, Object.assign(cause, { code: getSystemErrorName(-cause.code) }));
  }
  return systemFailure(`cannot write to the store ${path}`, cause);
}

/** lmdb prints the stack of a failed write to standard error; we say what happened ourselves. Nothing else here uses the console. */
function quietLmdb(): void {
  console.error = () => undefined;
}
