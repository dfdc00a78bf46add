/** One process per state folder: a lock the kernel holds and lets go of when the process ends, however it ends. */

import { type FileHandle, open } from 'node:fs/promises';
import { join } from 'node:path';
import locks from 'fs-native-extensions';
import { Failure, systemFailure } from './failure.js';

const LOCK_FILE = 'lock';

export interface FolderLock {
  release(): Promise<void>;
}

/**
 * Takes the exclusive lock on a state folder.
 *
 * @param who names the holder to whoever comes second, e.g. `latchkey-controller run`
 * @throws Failure that says who holds it
 */
export async function lockFolder(folder: string, who: string): Promise<FolderLock> {
  const path = join(folder, LOCK_FILE);
  let file: FileHandle;
  try {
    file = await open(path, 'a+', 0o600);
  } catch (error) {
    throw systemFailure(`cannot lock the folder ${folder}`, error);
  }
  try {
    if (!locks.tryLock(file.fd)) {
      const holder = (await file.readFile('utf8')).trim();
      throw new Failure(`the folder ${folder} is in use${holder === '' ? '' : ` by ${holder}`}`, {
        advice: 'Stop that process first: two on one folder would undo each other.',
      });
    }
  } catch (error) {
    await file.close();
    throw systemFailure(`cannot lock the folder ${folder}`, error);
  }
  // The lock is held whether or not a full or failing disk takes the words about it: a daemon starts all the same, and waits for the disk.
  await describe(file, who).catch(() => undefined);
  return { release: () => file.close() };
}

async function describe(file: FileHandle, who: string): Promise<void> {
  await file.truncate(0);
  await file.write(`${who} (process ${process.pid}, since ${new Date().toISOString()})\n`);
}
