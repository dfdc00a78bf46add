/**
 * V8's code cache, in a file of the state folder. A user who can write that file controls what this
 * process runs. It is therefore used only if no user except root and the process's own could have
 * written it. V8 itself checks little more than its version. So this module also checks that the
 * file is complete, and made for this program and this Node.js.
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

const FILE = 'code-cache';
/** SHA-256 of the identity of the program, and of the code that follows. */
const DIGEST_LENGTH = 32;
/** Some 400 KiB are expected. */
const MAX_OCTETS = 4 * 1024 * 1024;

/** @param source of the program it has to be of */
export function readCodeCache(folder: string, source: string): Buffer | undefined {
  let file: number | undefined;
  try {
    if (!hasTrustedOwner(statSync(folder))) return undefined;
    file = openSync(join(folder, FILE), constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    const info = fstatSync(file);
    if (!info.isFile() || info.nlink !== 1 || info.size > MAX_OCTETS || !hasTrustedOwner(info)) return undefined;
    const octets = readFileSync(file);
    const code = octets.subarray(DIGEST_LENGTH);
    return octets.subarray(0, DIGEST_LENGTH).equals(digest(source, code)) ? code : undefined;
  } catch {
    // There is none, or none to be had: the program gets compiled.
    return undefined;
  } finally {
    if (file !== undefined) closeSync(file);
  }
}

/** Written aside and renamed. It is of no consequence when it cannot be. */
export function writeCodeCache(folder: string, source: string, code: Buffer): void {
  const path = join(folder, FILE);
  const tempPath = join(folder, `.${FILE}.new`);
  try {
    if (!hasTrustedOwner(statSync(folder))) return;
    rmSync(tempPath, { force: true });
    writeFileSync(tempPath, Buffer.concat([digest(source, code), code]), { mode: 0o600, flag: 'wx' });
    renameSync(tempPath, path);
  } catch {
    removeIfPossible(tempPath);
  }
}

function removeIfPossible(path: string): void {
  try {
    rmSync(path, { force: true });
  } catch {
    // A folder that may not be entered any more.
  }
}

/** Returns true if only root and this process's own user can write to it. */
function hasTrustedOwner({ uid, mode }: Stats): boolean {
  return (uid === 0 || uid === process.geteuid?.()) && (mode & 0o022) === 0;
}

function digest(source: string, code: Uint8Array): Buffer {
  const { size, mtimeMs } = statSync(process.execPath);
  const target = `${process.version} ${process.arch} ${size} ${mtimeMs} ${source.length}\n`;
  return createHash('sha256').update(target).update(source, 'latin1').update(code).digest();
}
