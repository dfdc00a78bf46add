/**
 * Saves the index of nodes in a file next to the store, so that a starting process need not read
 * all nodes. The file is optional. If it is missing, damaged or of another store, the index is
 * rebuilt from the tables.
 */

import { open, readFile, rename, rm } from 'node:fs/promises';
import { deserialize, serialize } from 'node:v8';
import { crc32 } from 'node:zlib';
import type { SavedIndex } from '../node-index/node-index.js';

/** Version of the file format. */
const FORMAT = 1;
const CHECKSUM_LENGTH = 4;
const PRIVATE_FILE = 0o600;

/** The last entry of the audit log that is in an index: it also says of which registry it is. */
export interface IndexPosition {
  readonly seq: number;
  readonly hash: Uint8Array;
}

interface Content {
  readonly format: number;
  readonly position: IndexPosition;
  readonly index: SavedIndex;
}

/** Returns `undefined` if there is none that can be read. */
export async function readSavedIndex(path: string): Promise<Omit<Content, 'format'> | undefined> {
  try {
    const octets = await readFile(path);
    const content = octets.subarray(CHECKSUM_LENGTH);
    if (octets.readUInt32BE(0) !== crc32(content)) return undefined;
    const { format, ...saved } = deserialize(content) as Content;
    return format === FORMAT ? saved : undefined;
  } catch {
    // Any fault of the file costs time, and no more.
    return undefined;
  }
}

/**
 * Serializes the index before it returns. Two processes that write at once may corrupt the file,
 * which its checksum detects. If the disk is full, no file is written.
 */
export async function writeSavedIndex(path: string, position: IndexPosition, index: SavedIndex): Promise<void> {
  const content = serialize({ format: FORMAT, position, index } satisfies Content);
  const checksum = Buffer.alloc(CHECKSUM_LENGTH);
  checksum.writeUInt32BE(crc32(content));
  const temp = `${path}.new`;
  try {
    const file = await open(temp, 'w', PRIVATE_FILE);
    try {
      await file.writev([checksum, content]);
    } finally {
      await file.close();
    }
    await rename(temp, path);
  } catch {
    await rm(temp, { force: true }).catch(() => undefined);
  }
}
