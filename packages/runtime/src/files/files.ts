/**
 * Files that must survive a crash and stay private. Each is written to a temporary file, synced and
 * renamed, and the folder is synced.
 */

import { randomBytes } from 'node:crypto';
import { constants, type Stats } from 'node:fs';
import {
  type FileHandle,
  lchown,
  link,
  lstat,
  mkdir,
  open,
  readdir,
  rename,
  rm,
  stat,
  unlink,
  writeFile,
} from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { shellWord } from '../cli/advice.js';
import { environment } from '../config/environment.js';
import { systemCode, systemFailure, UsageFailure } from '../failure.js';
import { lockFile } from './file-lock.js';
import { removeOnSignal } from './signal-cleanup.js';

const PRIVATE_FILE = 0o600;
const PRIVATE_FOLDER = 0o700;
const GROUP_AND_OTHERS = 0o077;
const WORLD_WRITABLE = 0o002;

/** Most octets of a configuration, credential or state file. */
const MAX_FILE = 1024 * 1024;
/** Octets of one read. */
const CHUNK_SIZE = 64 * 1024;
/** Errors of open(2) that mean a wrong path. */
const PATH_ERRORS: ReadonlySet<string> = new Set(['ENOENT', 'EACCES', 'EISDIR', 'ENOTDIR', 'ELOOP', 'ENAMETOOLONG']);
/** Errors of link(2) on a file system without hard links. FAT returns EPERM. */
const NO_HARD_LINKS_ERRORS: ReadonlySet<string> = new Set(['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS']);

/** Content of a file. Text is written as UTF-8, in pieces if one string would be very long. */
export type Content = string | Uint8Array | Iterable<string> | AsyncIterable<string>;

/**
 * Replaces `path` durably by `content`, mode 0600. After a crash the file has the whole old content
 * or the whole new content. The next write removes a temporary file that a crash left, which may
 * hold a key. Only one writer at a time is allowed.
 */
export async function replaceFile(path: string, content: string): Promise<void> {
  await writeTemp(path, tempPathFor(path, 'new'), content, (tempPath) => rename(tempPath, path));
}

/**
 * Creates `path` durably with `content`, mode 0600. Fails if the file exists, even if several
 * processes create it concurrently. The temporary file is removed when a signal ends the process.
 * After a crash the next write of `path` removes it.
 *
 * @param beforeCommit runs after the content is synced and before it gets its name. If it fails, no
 *   file is created. The content that it returns replaces `content`
 */
export async function createFile(
  path: string,
  content: Content,
  beforeCommit?: () => Promise<string | Uint8Array | undefined>,
): Promise<void> {
  const tempPath = tempPathFor(path, randomBytes(4).toString('hex'));
  const cancelRemoval = removeOnSignal(tempPath);
  try {
    await removeStaleTemps(path);
    const file = await open(tempPath, 'wx', PRIVATE_FILE);
    // Locked before any content is written, so that no other process removes it. On a file system
    // without locks no process removes such files.
    const lock = await lockFile(file).catch(() => undefined);
    try {
      await writeAndSync(file, dirname(path), content);
      const instead = await beforeCommit?.();
      if (instead !== undefined) await rewriteAndSync(file, instead);
      await linkIntoPlace(tempPath, path);
    } finally {
      await lock?.release();
      await file.close();
    }
    await syncFolder(dirname(path));
  } catch (error) {
    await rm(tempPath, { force: true }).catch(() => undefined);
    throw systemFailure(`cannot write ${path}`, error);
  } finally {
    cancelRemoval();
  }
}

/**
 * Returns whether the file that `createFile` is to create exists already. A process that was killed
 * as that file got its name left the content under a temporary name, too, which is removed.
 */
export async function isTaken(path: string): Promise<boolean> {
  if (!(await exists(path))) return false;
  await removeStaleTemps(path);
  return true;
}

/** Links the temporary file to `path`, which must not exist. */
export async function linkIntoPlace(tempPath: string, path: string): Promise<void> {
  try {
    await link(tempPath, path);
  } catch (error) {
    if (!NO_HARD_LINKS_ERRORS.has(systemCode(error) ?? '')) throw error;
    await renameOntoPlaceholder(tempPath, path);
    return;
  }
  await unlink(tempPath);
}

/**
 * Does the same on a file system without hard links, such as a USB stick: an empty file takes the
 * name, and the temporary file replaces it. A crash in between leaves the empty file, which every
 * reader rejects.
 */
async function renameOntoPlaceholder(tempPath: string, path: string): Promise<void> {
  await (await open(path, 'wx', PRIVATE_FILE)).close();
  try {
    await rename(tempPath, path);
  } catch (error) {
    await rm(path, { force: true });
    throw error;
  }
}

/**
 * Removes temporary files of `path` that killed processes left. A process that still writes holds a
 * lock on its file. A file that cannot be removed stays.
 */
async function removeStaleTemps(path: string): Promise<void> {
  const folder = dirname(path);
  const owner = (await foreignOwner(folder))?.uid ?? process.geteuid?.();
  const prefix = `.${basename(path)}.`;
  for (const name of await readdir(folder).catch(() => [])) {
    if (name.startsWith(prefix) && /^[0-9a-f]{8}$/.test(name.slice(prefix.length)))
      await removeTempUnlessLocked(join(folder, name), owner).catch(() => undefined);
  }
}

/**
 * Removes temporary files of `path` that killed processes left, those of `replaceFile` included.
 * The caller must be the only writer of `path`, by a lock. A file that cannot be removed stays.
 */
export async function removeAside(path: string): Promise<void> {
  await removeStaleTemps(path);
  await rm(tempPathFor(path, 'new'), { force: true }).catch(() => undefined);
}

async function removeTempUnlessLocked(tempPath: string, owner: number | undefined): Promise<void> {
  const info = await lstat(tempPath);
  // An empty temporary file may not be locked yet, and holds no key.
  if (!info.isFile() || info.uid !== owner || info.size === 0) return;
  const file = await open(tempPath, constants.O_RDWR | constants.O_NOFOLLOW);
  try {
    const lock = await lockFile(file);
    if (lock === undefined) return;
    await unlink(tempPath);
    await lock.release();
  } finally {
    await file.close();
  }
}

function tempPathFor(path: string, suffix: string): string {
  return join(dirname(path), `.${basename(path)}.${suffix}`);
}

async function writeTemp(
  path: string,
  tempPath: string,
  content: string,
  commit: (tempPath: string) => Promise<void>,
): Promise<void> {
  try {
    await rm(tempPath, { force: true });
    const file = await open(tempPath, 'wx', PRIVATE_FILE);
    try {
      await writeAndSync(file, dirname(path), content);
    } finally {
      await file.close();
    }
    await commit(tempPath);
    await syncFolder(dirname(path));
  } catch (error) {
    await rm(tempPath, { force: true }).catch(() => undefined);
    throw systemFailure(`cannot write ${path}`, error);
  }
}

/** Sets the owner of a new file of `folder`, writes its content, and syncs it. */
async function writeAndSync(file: FileHandle, folder: string, content: Content): Promise<void> {
  await chownToOwnerOf(file, folder);
  await writeFile(file, content);
  await file.sync();
}

async function rewriteAndSync(file: FileHandle, content: string | Uint8Array): Promise<void> {
  const octets = Buffer.from(content);
  await file.truncate(0);
  for (let at = 0; at < octets.length;) at += (await file.write(octets, at, octets.length - at, at)).bytesWritten;
  await file.sync();
}

/**
 * Gives a file that root writes into another user's folder to that user, because a daemon must be
 * able to read it.
 */
async function chownToOwnerOf(file: FileHandle, folder: string): Promise<void> {
  const owner = await foreignOwner(folder);
  if (owner !== undefined) await file.chown(owner.uid, owner.gid);
}

/** Does the same for a file that was created at `path` in another way. */
export async function chownToFolderOwner(path: string): Promise<void> {
  const owner = await foreignOwner(dirname(path));
  if (owner !== undefined) await lchown(path, owner.uid, owner.gid);
}

async function foreignOwner(folder: string): Promise<Stats | undefined> {
  if (process.getuid?.() !== 0) return undefined;
  const info = await stat(folder);
  return info.uid === 0 ? undefined : info;
}

/**
 * Writes, syncs and removes a file in `folder`. Throws a Failure if the folder takes no writes.
 */
export async function probeFolder(folder: string): Promise<void> {
  const path = join(folder, '.probe');
  await writeTemp(path, path, 'x', (tempPath) => unlink(tempPath));
}

/** Makes a change of the name `path` durable. */
export function syncFolderOf(path: string): Promise<void> {
  return syncFolder(dirname(path));
}

/** Makes changes of names in `folder` durable. */
async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/**
 * Reads a file that holds keys. Refuses one that others may read, and one larger than `maxOctets`.
 */
export async function readPrivateFile(path: string, maxOctets: number = MAX_FILE): Promise<string> {
  const { octets, info } = await readWhole(path, maxOctets);
  if (!isSystemdCredential(path)) assertPrivateMode(path, info);
  return octets.toString('utf8');
}

/** Reads a file that holds no keys, of 1 MiB at most. */
export async function readPlainFile(path: string): Promise<string> {
  return (await readWhole(path, MAX_FILE)).octets.toString('utf8');
}

/**
 * Reads a file that may be encrypted: one that is not, and holds keys, is for the caller to hand to
 * `checkPrivateFile`.
 */
export async function readOctets(path: string, maxOctets: number = MAX_FILE): Promise<Uint8Array> {
  return (await readWhole(path, maxOctets)).octets;
}

async function readWhole(path: string, maxOctets: number): Promise<{ readonly octets: Buffer; readonly info: Stats }> {
  try {
    const file = await openToRead(path);
    try {
      const info = await file.stat();
      assertFile(path, info);
      if (info.size > maxOctets)
        throw new UsageFailure(`cannot read ${path}: it has ${info.size} octets, more than ${maxOctets}`, {
          advice: 'Check whether it is the right file.',
        });
      // A pipe, or a file that grows, does not tell its size beforehand.
      const octets = await collect(
        chunks(file, info.isFile() ? Math.min(info.size + 1, CHUNK_SIZE) : CHUNK_SIZE),
        maxOctets,
        `cannot read ${path}: it`,
      );
      return { octets, info };
    } finally {
      await file.close();
    }
  } catch (error) {
    throw systemFailure(`cannot read ${path}`, error);
  }
}

/**
 * A path that leads to nothing one may read is the user's mistake; a disk that fails, or too many
 * open files, is not.
 */
async function openToRead(path: string): Promise<FileHandle> {
  try {
    return await open(path, constants.O_RDONLY);
  } catch (error) {
    if (!PATH_ERRORS.has(systemCode(error) ?? '')) throw error;
    throw new UsageFailure(systemFailure(`cannot read ${path}`, error).message, {
      advice: 'Check the path and its owner.',
      cause: error,
    });
  }
}

/** As they are read. A stream takes longer to make than most files to read. */
async function* chunks(file: FileHandle, size: number): AsyncIterable<Buffer> {
  for (;;) {
    const { bytesRead, buffer } = await file.read(Buffer.alloc(size), 0, size, null);
    if (bytesRead === 0) return;
    yield buffer.subarray(0, bytesRead);
  }
}

/**
 * Whether systemd gave it to this service: it keeps others out by the folder, and the mode it shows
 * for a file is no measure.
 */
function isSystemdCredential(path: string): boolean {
  const folder = environment('CREDENTIALS_DIRECTORY');
  return folder !== undefined && dirname(resolve(path)) === resolve(folder);
}

/** Throws unless it is a file or a pipe. */
function assertFile(path: string, info: Stats): void {
  if (info.isFile() || info.isFIFO()) return;
  throw new UsageFailure(`cannot read ${path}: it is not a file`, { advice: 'Check the path.' });
}

function assertPrivateMode(path: string, info: Stats): void {
  if ((info.mode & GROUP_AND_OTHERS) === 0) return;
  const mode = (info.mode & 0o777).toString(8).padStart(4, '0');
  throw new UsageFailure(`${path} holds a secret and has mode ${mode}: others can read it`, {
    advice: `Run: chmod 600 ${shellWord(path)}`,
  });
}

/** Refuses `path` if it exists with a mode that lets others in. */
export async function checkPrivateFile(path: string): Promise<void> {
  const info = await stat(path).catch(() => undefined);
  if (info === undefined) return;
  // The mode of a folder or a device is not for this user to change.
  assertFile(path, info);
  assertPrivateMode(path, info);
}

/**
 * Makes sure the folder is there (new ones with mode 0700) and that not everybody may write into
 * it.
 */
export async function ensurePrivateFolder(path: string): Promise<void> {
  try {
    await makeFolder(resolve(path));
    const info = await stat(path);
    if (!info.isDirectory()) throw new UsageFailure(`cannot use the folder ${path}: it is a file`, { advice: 'Check the path.' });
    if ((info.mode & WORLD_WRITABLE) === 0) return;
  } catch (error) {
    throw systemFailure(`cannot use the folder ${path}`, error);
  }
  throw new UsageFailure(`everybody may write into the folder ${path}`, { advice: `Run: chmod 700 ${shellWord(path)}` });
}

/**
 * One level at a time, each durable: a recursive mkdir never comes back from file systems that
 * answer ENOENT for a name they do not want, as /proc does.
 */
async function makeFolder(path: string): Promise<void> {
  try {
    await mkdir(path, PRIVATE_FOLDER);
  } catch (error) {
    if (systemCode(error) === 'EEXIST') return;
    if (systemCode(error) !== 'ENOENT' || dirname(path) === path) throw error;
    await makeFolder(dirname(path));
    await mkdir(path, PRIVATE_FOLDER);
  }
  await chownToFolderOwner(path);
  await syncFolder(dirname(path));
}

/** Whether a file or folder is there. Fails where that cannot be told. */
export async function exists(path: string): Promise<boolean> {
  try {
    await stat(path);
    return true;
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return false;
    throw systemFailure(`cannot look at ${path}`, error);
  }
}

/** Standard input to its end as text, `maxOctets` at most. */
export async function readStandardInput(maxOctets: number = MAX_FILE): Promise<string> {
  return (await readStandardOctets(maxOctets)).toString('utf8');
}

/** Standard input to its end, `maxOctets` at most. */
export async function readStandardOctets(maxOctets: number = MAX_FILE): Promise<Buffer> {
  return collect(process.stdin, maxOctets, 'standard input');
}

async function collect(stream: AsyncIterable<Buffer>, maxOctets: number, what: string): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of stream) {
    size += chunk.length;
    if (size > maxOctets) throw new UsageFailure(`${what} has more than ${maxOctets} octets`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
