/** Opens a file of nodes and reads it, in memory that does not grow with it. */

import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import type { Readable } from 'node:stream';
import { type Advice, systemFailure, UsageFailure } from '@latchkey/runtime/failure';
import { checkPrivateFile, exists } from '@latchkey/runtime/files';
import { type ManifestHandler, ManifestReader } from '@latchkey/provisioning';

/** How a file is named in messages. */
export function inputName(path: string): string {
  return path === '-' ? 'standard input' : path;
}

/**
 * Reads `path`, mode 0600, or standard input for `-`.
 *
 * @param decrypt what to do with a file that is encrypted
 */
export async function readImport(path: string, decrypt: Advice, handler: ManifestHandler): Promise<void> {
  await readInto(path, new ManifestReader({ name: inputName(path), decrypt }, handler));
}

/** Passes `path`, mode 0600, or standard input for `-`, to a reader. */
export async function readInto(
  path: string,
  reader: { readonly push: (chunk: Uint8Array) => void; readonly end: () => void },
): Promise<void> {
  const name = inputName(path);
  const input = path === '-' ? process.stdin : await openPrivate(path);
  try {
    for await (const chunk of input) reader.push(chunk as Buffer);
    reader.end();
  } catch (error) {
    throw error instanceof UsageFailure ? error : systemFailure(`cannot read ${name}`, error);
  } finally {
    input.destroy();
  }
}

async function openPrivate(path: string): Promise<Readable> {
  if (!(await exists(path))) throw new UsageFailure(`cannot read ${path}: no such file or folder`, { advice: 'Check the path.' });
  const info = await stat(path);
  // Before its mode is looked at: to change that of a folder or a device is no advice.
  if (!info.isFile() && !info.isFIFO()) throw new UsageFailure(`cannot read ${path}: it is not a file`);
  await checkPrivateFile(path);
  return createReadStream(path, { highWaterMark: 1024 * 1024 });
}
