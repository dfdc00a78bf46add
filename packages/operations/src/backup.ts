/** What an administrator does to keep a copy of the registry. */

import { backup, formatHead } from '@latchkey/registry';
import * as contract from './contract/backup.js';
import type { Backup, BackupInput } from './contract/backup.js';
import { implement, type Operation } from './operation.js';

/** The keys in the file stay sealed. */
export const backupsCreate: Operation<BackupInput, Backup> = implement(
  contract.backupsCreate,
  async ({ registry }, { file }) => ({ head: formatHead(await backup(registry, file)) }),
);
