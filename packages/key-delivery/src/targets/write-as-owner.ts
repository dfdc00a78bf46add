/**
 * What a child process does under the user of the folder that it writes to. `writeAsOwner` is
 * handed to Node.js as text: the user of the folder need not be able to read this program.
 */

import type { Stats } from 'node:fs';

/** One line of JSON on the child's standard input. The contents follow in the same order. */
export interface WriteRequest {
  readonly folder: string;
  /** The user that the folder must belong to, and root, own every folder on the way. */
  readonly uid: number;
  readonly files: readonly FileToWrite[];
  readonly contexts?: readonly { readonly name: string; readonly files: Readonly<Record<string, string>> }[];
  readonly owner: { readonly uid: number; readonly gid: number } | undefined;
  readonly mode: number;
  /** Writes nothing: the result describes what would be written. */
  readonly onlyCompare?: boolean;
}

interface FileToWrite {
  readonly name: string;
  /** In octets. */
  readonly length: number;
}

/** One line of JSON on the child's standard output. */
export type WriteResult =
  | { readonly changed: boolean; readonly reused: number }
  | { readonly error: string; readonly code: string | undefined };

/**
 * Writes files into a folder that another user may own and change at any moment. It uses nothing of
 * this module.
 *
 * - It enters each folder of the path in turn, and compares it with what it saw from outside. A
 *   symbolic link in the place of a folder is therefore detected. From there it uses names, not
 *   paths.
 * - A folder on the way belongs to root or to the folder's own user, who runs this.
 * - A temporary file is created with O_EXCL and O_NOFOLLOW. It gets owner and mode while it is
 *   empty, is synced, and replaces the former file.
 * - A context may belong to the application, which changes it at any moment. Its content is removed
 *   under the user that owns it, so nothing is removed which that user could not remove.
 */
export function writeAsOwner(): void {
  const fs = process.getBuiltinModule('node:fs');
  const { constants: flags } = fs;
  /** Retired OSCORE contexts that a node keeps, so that its KIDs are known as used. */
  const MAX_RETIRED = 16;
  const MAX_LINKS = 16;

  class Refused extends Error {}

  function enter(path: string, uid: number): void {
    process.chdir('/');
    let links = 0;
    let names = path.split('/').filter((name) => name !== '');
    while (names.length > 0) {
      const [name = '', ...rest] = names;
      const here = fs.statSync('.');
      if ((here.uid !== 0 && here.uid !== uid) || isShared(here))
        throw new Refused(`a folder above ${name} is somebody else's, or others can write to it`);
      const seen = fs.lstatSync(name);
      if (seen.isSymbolicLink()) {
        links += 1;
        if (links > MAX_LINKS || (seen.uid !== 0 && seen.uid !== uid)) throw new Refused(`${name} is a symbolic link`);
        const to = fs.readlinkSync(name);
        if (to.startsWith('/')) process.chdir('/');
        names = [...to.split('/').filter((part) => part !== '' && part !== '.'), ...rest];
        continue;
      }
      if (!seen.isDirectory()) throw new Refused(`${name} is not a folder`);
      step(name, seen);
      names = rest;
    }
    if (fs.statSync('.').uid !== uid) throw new Refused('the folder has another owner than a moment ago');
  }

  /** Changes to a folder of the current one, if it is still the folder that was checked. */
  function step(name: string, seen: Stats): void {
    process.chdir(name);
    const inside = fs.statSync('.');
    if (inside.dev !== seen.dev || inside.ino !== seen.ino) throw new Refused(`${name} was replaced`);
  }

  /** Anybody may have made, or replaced, an entry of the current folder, unless it is sticky. */
  function isShared({ mode, gid }: Stats): boolean {
    return ((mode & 0o002) !== 0 || ((mode & 0o020) !== 0 && gid !== 0)) && (mode & 0o1000) === 0;
  }

  function readAll(): Buffer {
    const chunks: Buffer[] = [];
    for (;;) {
      const chunk = Buffer.alloc(65_536);
      const length = fs.readSync(0, chunk, 0, chunk.length, null);
      if (length === 0) return Buffer.concat(chunks);
      chunks.push(chunk.subarray(0, length));
    }
  }

  function isSame(name: string, content: Uint8Array, { owner, mode }: WriteRequest): boolean {
    let file: number;
    try {
      // A FIFO put here must not make this wait for a writer.
      file = fs.openSync(name, flags.O_RDONLY | flags.O_NOFOLLOW | flags.O_NONBLOCK);
    } catch {
      return false;
    }
    try {
      const info = fs.fstatSync(file);
      const isOwned = owner === undefined ? info.uid === process.geteuid?.() : info.uid === owner.uid && info.gid === owner.gid;
      if (!info.isFile() || info.size !== content.length || (info.mode & 0o7777) !== mode || !isOwned) return false;
      return fs.readFileSync(file).equals(content);
    } finally {
      fs.closeSync(file);
    }
  }

  function create(name: string, content: Uint8Array, { owner, mode }: WriteRequest): void {
    const file = fs.openSync(name, flags.O_WRONLY | flags.O_CREAT | flags.O_EXCL | flags.O_NOFOLLOW, 0o600);
    try {
      if (owner !== undefined) fs.fchownSync(file, owner.uid, owner.gid);
      fs.fchmodSync(file, mode);
      fs.writeFileSync(file, content);
      fs.fsyncSync(file);
    } finally {
      fs.closeSync(file);
    }
  }

  function syncFolder(name: string): void {
    const folder = fs.openSync(name, flags.O_RDONLY | flags.O_DIRECTORY | flags.O_NOFOLLOW);
    fs.fsyncSync(folder);
    fs.closeSync(folder);
  }

  function replace(name: string, content: Uint8Array, request: WriteRequest): boolean {
    if (isSame(name, content, request)) return false;
    if (request.onlyCompare === true) return true;
    const aside = `.${name}.new`;
    // What a crash left. A folder of that name is an error, and stays.
    fs.rmSync(aside, { force: true });
    try {
      create(aside, content, request);
      fs.renameSync(aside, name);
    } catch (error) {
      fs.rmSync(aside, { force: true });
      throw error;
    }
    return true;
  }

  /** Removes the folder of a context, with what its owner could remove of it. */
  function removeContext(name: string, request: WriteRequest): void {
    const seen = fs.lstatSync(name);
    const isForeign = process.geteuid?.() === 0 && seen.uid !== 0;
    step(name, seen);
    try {
      if (isForeign) {
        process.setegid?.(seen.gid);
        process.seteuid?.(seen.uid);
      }
      for (const entry of fs.readdirSync('.')) fs.rmSync(entry, { recursive: true, force: true });
    } catch {
      // It stays, and the folder with it.
    } finally {
      if (isForeign) {
        process.seteuid?.(0);
        process.setegid?.(0);
      }
      enter(request.folder, request.uid);
    }
    try {
      fs.rmdirSync(name);
    } catch {
      // Its keys are gone.
    }
  }

  function hasKeys(name: string): boolean {
    return fs.existsSync(`${name}/secret.json`);
  }

  /** Takes the keys out of contexts that are over. Returns true if one had some. */
  function retire(names: readonly string[]): boolean {
    const ended = names.filter(hasKeys);
    for (const name of ended) {
      // The file that makes a context usable is removed last.
      for (const file of ['oscore.conf', 'secret.json']) fs.rmSync(`${name}/${file}`, { force: true });
      syncFolder(name);
    }
    return ended.length > 0;
  }

  function makeContext(name: string, files: Readonly<Record<string, string>>, request: WriteRequest): void {
    const aside = `.${name}.new`;
    fs.mkdirSync(aside, 0o700);
    for (const [file, text] of Object.entries(files)) create(`${aside}/${file}`, Buffer.from(text), request);
    if (request.owner !== undefined) fs.chownSync(aside, request.owner.uid, request.owner.gid);
    syncFolder(aside);
    fs.renameSync(aside, name);
  }

  /** Makes the contexts that are missing, and takes the keys out of those that are over. */
  function writeContexts(contexts: NonNullable<WriteRequest['contexts']>, request: WriteRequest): WriteResult {
    if (isShared(fs.statSync('.'))) throw new Refused('others can write to the folder, and replace what is made there');
    const idOf = (name: string): string => name.slice(0, 8);
    const wanted = new Set(contexts.map(({ name }) => name));
    const nodes = new Set(contexts.map(({ name }) => idOf(name)));
    const here = fs.readdirSync('.', { withFileTypes: true }).filter((entry) => entry.isDirectory());
    const names = new Set(here.map(({ name }) => name));
    const unfinished = [...names].filter((name) => /^\.[0-9a-f]{8}-[0-9a-f]{8}\.new$/.test(name));
    const over = [...names].filter((name) => /^[0-9a-f]{8}-[0-9a-f]{8}$/.test(name) && !wanted.has(name));
    if (request.onlyCompare === true) {
      const isMissing = [...wanted].some((name) => !names.has(name));
      return { changed: isMissing || unfinished.length > 0 || over.some(hasKeys), reused: 0 };
    }
    for (const name of unfinished) removeContext(name, request);
    // First of nodes that have none left: to make those of thousands of others takes long.
    let changed = retire(over.filter((name) => !nodes.has(idOf(name))));
    let reused = 0;
    for (const { name, files } of contexts) {
      if (!names.has(name)) {
        makeContext(name, files, request);
        changed = true;
        // Its sequence number is gone with its keys: the generation is never used again.
      } else if (!hasKeys(name)) reused += 1;
    }
    changed = retire(over) || changed;
    const retired = new Map<string, string[]>();
    for (const name of over) retired.set(idOf(name), [...(retired.get(idOf(name)) ?? []), name]);
    for (const folders of retired.values()) {
      const age = (name: string): number => fs.lstatSync(name).mtimeMs;
      for (const name of folders.toSorted((a, b) => age(b) - age(a)).slice(MAX_RETIRED)) removeContext(name, request);
    }
    return { changed, reused };
  }

  function write(): WriteResult {
    const input = readAll();
    const end = input.indexOf('\n');
    const request = JSON.parse(input.toString('utf8', 0, end)) as WriteRequest;
    enter(request.folder, request.uid);
    if (request.contexts !== undefined) {
      const result = writeContexts(request.contexts, request);
      if (request.onlyCompare !== true) syncFolder('.');
      return result;
    }
    let at = end + 1;
    let changed = false;
    for (const { name, length } of request.files) {
      if (input.length < at + length) throw new Refused('the content is cut off');
      changed = replace(name, input.subarray(at, at + length), request) || changed;
      at += length;
    }
    if (changed && request.onlyCompare !== true) syncFolder('.');
    return { changed, reused: 0 };
  }

  let result: WriteResult;
  try {
    result = write();
  } catch (error) {
    const message = error instanceof Error ? error.message : 'unknown';
    const code = error instanceof Error && 'code' in error ? String(error.code) : undefined;
    // A message of Node.js repeats paths and names, never content.
    result = { error: message, code };
  }
  fs.writeSync(1, `${JSON.stringify(result)}\n`);
}
