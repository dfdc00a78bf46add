import { z } from 'zod';
import type { Contract } from './contract.js';

export interface BackupInput {
  /** Must not exist. */
  readonly file: string;
}

export interface Backup {
  /** Of the audit log: `SEQ:HASH`. */
  readonly head: string;
}

export const backupsCreate: Contract<BackupInput, Backup> = {
  name: 'backups.create',
  scope: 'admin',
  input: z.strictObject({ file: z.string().min(1) }),
  output: z.object({ head: z.string() }),
};
