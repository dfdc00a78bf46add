/**
 * Checks that no other user can change a file that this process obeys: the configuration, a
 * template, a program that it runs.
 */

import type { Stats } from 'node:fs';
import { lstat, realpath } from 'node:fs/promises';
import { dirname } from 'node:path';
import { shellWord } from '@latchkey/runtime/cli';
import { systemFailure, UsageFailure } from '@latchkey/runtime/failure';

const STICKY = 0o1000;
const GROUP_WRITABLE = 0o020;
const WORLD_WRITABLE = 0o002;

/**
 * Throws a UsageFailure unless `path` and every folder above it belong to root, or to the user of
 * this process. No other user may have write access to them. A folder in which only owners can
 * rename, as /tmp, passes. A symbolic link is checked on both sides.
 *
 * @param what names the file: `the template`
 */
export async function assertTrusted(path: string, what: string): Promise<void> {
  try {
    const real = await realpath(path);
    await assertChain(real, what);
    if (real !== path) await assertChain(await realpath(dirname(path)), what);
  } catch (error) {
    if (error instanceof UsageFailure) throw error;
    const { message } = systemFailure(`cannot use ${what} ${path}`, error);
    throw new UsageFailure(message, { advice: 'Check the path.', cause: error });
  }
}

async function assertChain(path: string, what: string): Promise<void> {
  const info = await lstat(path);
  const isLast = !info.isDirectory();
  const owner = process.geteuid?.() ?? 0;
  if (info.uid !== 0 && info.uid !== owner)
    throw refused(path, what, `belongs to user ${info.uid}`, `chown root ${shellWord(path)}`);
  if (isWritableByOthers(info) && (isLast || (info.mode & STICKY) === 0))
    throw refused(path, what, 'can be written to by others', `chmod go-w ${shellWord(path)}`);
  if (dirname(path) !== path) await assertChain(dirname(path), what);
}

/** A group of root's own, gid 0, is not others. */
function isWritableByOthers({ mode, gid }: Stats): boolean {
  return (mode & WORLD_WRITABLE) !== 0 || ((mode & GROUP_WRITABLE) !== 0 && gid !== 0);
}

function refused(path: string, what: string, why: string, run: string): UsageFailure {
  return new UsageFailure(`${what} is not to be trusted: ${path} ${why}`, { advice: `Run: ${run}` });
}
