/** Writes a registry, as it is at one moment, to a file; its keys stay sealed. */

import { basename } from 'node:path';
import { createFile, isTaken } from '@latchkey/runtime/files';
import { UsageFailure } from '@latchkey/runtime/failure';
import { type Head, headOf } from '../audit-chain.js';
import type { Registry } from '../registry.js';
import { formatBackup } from './backup-format.js';

/**
 * Writes a backup to the new file `path`, mode 0600, while servers go on. Gives the HEAD of the log
 * in it.
 */
export async function backup(registry: Registry, path: string): Promise<Head> {
  if (await isTaken(path))
    throw new UsageFailure(`${path} exists already`, { advice: 'Nothing was written. Choose another name.' });
  let head: Head = { seq: 0, hash: '' };
  await createFile(path, text());
  return head;

  // The log records a backup only once its file exists.
  async function* text(): AsyncGenerator<string> {
    const { storage } = registry;
    await storage.checkWhole?.();
    await registry.record({ what: 'registry backed up', note: basename(path) });
    const contents = await storage.contents();
    head = headOf(contents.head) ?? head;
    try {
      yield* formatBackup(contents);
    } finally {
      await contents.close();
    }
  }
}
