/** Opens a file of nodes and reads it, in memory that does not grow with it. */

import { createReadStream } from 'node:fs';
import type { Readable } from 'node:stream';
import { type Advice, systemFailure, UsageFailure } from '@latchkey/runtime/failure';
import { checkPrivateFile, exists } from '@latchkey/runtime/files';
import { type ManifestHandler, ManifestReader } from '@latchkey/provisioning';

/** A file in memory. */
interface ImportOctets {
  /** For messages. */
  readonly name: string;
  readonly octets: Uint8Array;
}

/** The path of a file of mode 0600, `-` for standard input; or what such a file holds. */
export type ImportSource = string | ImportOctets;

/** How a file is named in messages. */
export function inputName(source: ImportSource): string {
  if (typeof source !== 'string') return source.name;
  return source === '-' ? 'standard input' : source;
}

/** @param decrypt what to do with a file that is encrypted */
export async function readImport(source: ImportSource, decrypt: Advice, handler: ManifestHandler): Promise<void> {
  await readInto(source, new ManifestReader({ name: inputName(source), decrypt }, handler));
}

/**
 * Reads a file into memory, and refuses what an import would refuse of it without the registry. The
 * caller wipes it.
 */
export async function readImportFile(path: string, decrypt: Advice, maxOctets: number): Promise<Uint8Array> {
  const name = inputName(path);
  const parts: Uint8Array[] = [];
  let length = 0;
  const tooLarge = new UsageFailure(`${name} has more than ${maxOctets} octets`, {
    advice: 'Nothing was changed. Split it, or import it on the machine of the registry, with --data.',
  });
  try {
    await readInto(path, {
      push(chunk) {
        length += chunk.length;
        if (length > maxOctets) throw tooLarge;
        parts.push(chunk);
      },
      end: () => undefined,
    });
    // Leaves no copy of it that is never wiped.
    const octets = new Uint8Array(length);
    let at = 0;
    for (const part of parts) {
      octets.set(part, at);
      at += part.length;
    }
    let lines = 0;
    await readImport({ name, octets }, decrypt, { row: () => void (lines += 1), problem: () => void (lines += 1) });
    if (lines === 0) throw noNodes(path);
    return octets;
  } finally {
    for (const part of parts) part.fill(0);
  }
}

export function noNodes(source: ImportSource): UsageFailure {
  return new UsageFailure(`${inputName(source)} has no nodes in it`, {
    advice: 'Nothing was changed. Expected a line for each below the header, or JSON with an object for each.',
  });
}

/** Passes the content of a file to a reader. */
export async function readInto(
  source: ImportSource,
  reader: { readonly push: (chunk: Uint8Array) => void; readonly end: () => void },
): Promise<void> {
  if (typeof source !== 'string') {
    reader.push(source.octets);
    reader.end();
    return;
  }
  const name = inputName(source);
  const input = source === '-' ? process.stdin : await openPrivate(source);
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
  await checkPrivateFile(path);
  return createReadStream(path, { highWaterMark: 1024 * 1024 });
}
