/**
 * The files of an artefact, by path: written to a folder, then packed so that every build gives the
 * same octets.
 */

import { chmod, mkdir, readFile, symlink, utimes, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { runTool } from './run-tool.js';

type Entry = { readonly octets: Uint8Array | string; readonly executable?: true } | { readonly link: string };

export type Tree = Map<string, Entry>;

/** All of `from` below `folder` of `into`. */
export function mount(into: Tree, folder: string, from: Tree): void {
  for (const [path, entry] of from) into.set(`${folder}/${path}`, entry);
}

/** Writes it below `folder`: 0644, programs and folders 0755, whatever the umask. */
export async function writeTree(tree: Tree, folder: string): Promise<void> {
  for (const [path, entry] of tree) {
    const full = join(folder, path);
    await openFolders(folder, dirname(path));
    if ('link' in entry) {
      await symlink(entry.link, full);
    } else {
      await writeFile(full, entry.octets);
      await chmod(full, entry.executable === true ? 0o755 : 0o644);
    }
  }
}

async function openFolders(root: string, path: string): Promise<void> {
  await mkdir(join(root, path), { recursive: true });
  for (let at = path; at !== '.' && at !== '/'; at = dirname(at)) await chmod(join(root, at), 0o755);
}

/** Sizes in KiB, rounded up a file, as Debian counts them. */
export function kibibytes(tree: Tree): number {
  return [...tree.values()].reduce((sum, entry) => sum + ('link' in entry ? 1 : Math.ceil(entry.octets.length / 1024)), 0);
}

/** Packs the one folder `name` of `parent`: by name, of root, at one time. @param epoch seconds */
export async function packTarball(parent: string, name: string, epoch: number, to: string): Promise<void> {
  const tar = `${to}.part`;
  await runTool(
    'tar',
    [
      '--create',
      '--file',
      tar,
      '--format=ustar',
      '--sort=name',
      '--owner=0',
      '--group=0',
      '--numeric-owner',
      `--mtime=@${epoch}`,
      '-C',
      parent,
      name,
    ],
    { purpose: `pack ${to}`, advice: 'GNU tar is needed.' },
  );
  // No name and no time in the header of gzip.
  await writeFile(to, gzipSync(await readFile(tar), { level: 9 }));
  await utimes(to, epoch, epoch);
  await runTool('rm', [tar], { purpose: 'clear up' });
}
