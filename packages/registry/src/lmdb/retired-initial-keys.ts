import type { Database, RangeOptions, RootDatabase } from 'lmdb';
import type { RetiredInitialKeyId, RetiredInitialKeyRow } from '../model/rows.js';
import type { RetiredInitialKeyPage } from '../storage.js';

const ENTRY_LENGTH = 6;

/**
 * IKs that were taken from nodes, in LMDB.
 *
 *   retired initial keys   entry 6 | ID_i 4 -> RetiredInitialKeyRow
 */
export class RetiredInitialKeys {
  readonly #byEntry: Database<RetiredInitialKeyRow, Buffer>;

  constructor(env: RootDatabase) {
    this.#byEntry = env.openDB({ name: 'retired initial keys', keyEncoding: 'binary' });
  }

  /** Inside a write transaction. */
  putSync(id: RetiredInitialKeyId, row: RetiredInitialKeyRow): void {
    this.#byEntry.putSync(keyOf(id), row);
  }

  page(after: RetiredInitialKeyId | undefined, options: RangeOptions): RetiredInitialKeyPage {
    // The first key that is greater has one octet more.
    const range = after === undefined ? options : { ...options, start: Buffer.concat([keyOf(after), Buffer.alloc(1)]) };
    return Array.from(this.#byEntry.getRange(range), ({ key, value }) => [idOf(key), value] as const);
  }
}

function keyOf([entry, idI]: RetiredInitialKeyId): Buffer {
  const key = Buffer.allocUnsafe(ENTRY_LENGTH + 4);
  key.writeUIntBE(entry, 0, ENTRY_LENGTH);
  key.writeUInt32BE(idI, ENTRY_LENGTH);
  return key;
}

function idOf(key: Buffer): RetiredInitialKeyId {
  return [key.readUIntBE(0, ENTRY_LENGTH), key.readUInt32BE(ENTRY_LENGTH)];
}
