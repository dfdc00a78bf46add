/**
 * What V8 has compiled, in a file of the state folder. Whoever can write that file decides what this process runs, so it is believed only where
 * root and this process's own user alone can have written it; and V8 itself looks at little more than its own version, so it has to be for this
 * program, of this Node.js, and whole.
 */

import { createHash } from 'node:crypto';
import {
  closeSync,
  constants,
  fstatSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  type Stats,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';

const FILE = 'compiled';
/** SHA-256 of what it is for and of what follows. */
const DIGEST_LENGTH = 32;
/** Some 400 KiB are expected. */
const MAX_OCTETS = 4 * 1024 * 1024;

/** @param source of the program it has to be of */
export function readCompiled(folder: string, source: string): Buffer | undefined {
  let file: number | undefined;
  try {
    if (!isOurs(statSync(folder))) return undefined;
    file = openSync(join(folder, FILE), constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    const info = fstatSync(file);
    if (!info.isFile() || info.nlink !== 1 || info.size > MAX_OCTETS || !isOurs(info)) return undefined;
    const octets = readFileSync(file);
    const compiled = octets.subarray(DIGEST_LENGTH);
    return octets.subarray(0, DIGEST_LENGTH).equals(digest(source, compiled)) ? compiled : undefined;
  } catch {
    // There is none, or none to be had: the program gets compiled.
    return undefined;
  } finally {
    if (file !== undefined) closeSync(file);
  }
}

/** Written aside and renamed. It is of no consequence when it cannot be. */
export function writeCompiled(folder: string, source: string, compiled: Buffer): void {
  const path = join(folder, FILE);
  const aside = join(folder, `.${FILE}.new`);
  try {
    if (!isOurs(statSync(folder))) return;
    rmSync(aside, { force: true });
    writeFileSync(aside, Buffer.concat([digest(source, compiled), compiled]), { mode: 0o600, flag: 'wx' });
    renameSync(aside, path);
  } catch {
    removeIfPossible(aside);
  }
}

function removeIfPossible(path: string): void {
  try {
    rmSync(path, { force: true });
  } catch {
    // A folder that may not be entered any more.
  }
}

/** Whether nobody but root and this process's own user can write to it. */
function isOurs({ uid, mode }: Stats): boolean {
  return (uid === 0 || uid === process.geteuid?.()) && (mode & 0o022) === 0;
}

function digest(source: string, compiled: Uint8Array): Buffer {
  const { size, mtimeMs } = statSync(process.execPath);
  const madeFor = `${process.version} ${process.arch} ${size} ${mtimeMs} ${source.length}\n`;
  return createHash('sha256').update(madeFor).update(source, 'latin1').update(compiled).digest();
}
