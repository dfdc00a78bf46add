import type { Database, RangeOptions, RootDatabase } from 'lmdb';
import type { RetiredInitialKeyId, RetiredInitialKeyRow } from '../model/rows.js';
import type { RetiredInitialKeyPage } from '../storage.js';

/** Rows moved in one transaction, where a registry has them under their numbers. */
const ROWS_PER_TRANSACTION = 4_096;
const ENTRY_LENGTH = 6;

/**
 * IKs that were taken from nodes, in LMDB.
 *
 *   retired initial keys by entry   entry 6 | ID_i 4 -> RetiredInitialKeyRow
 *   retired initial keys            number, from 1 -> RetiredInitialKeyRow, of earlier builds
 */
export class RetiredInitialKeys {
  readonly #byEntry: Database<RetiredInitialKeyRow, Buffer>;
  readonly #byNumber: Database<RetiredInitialKeyRow, number>;

  constructor(env: RootDatabase) {
    this.#byEntry = env.openDB({ name: 'retired initial keys by entry', keyEncoding: 'binary' });
    this.#byNumber = env.openDB({ name: 'retired initial keys', keyEncoding: 'uint32' });
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

  /**
   * Moves rows that an earlier build numbered. They come first: each under entry 0, its number in
   * place of ID_i.
   */
  async moveNumbered(write: <T>(action: () => T) => Promise<T>): Promise<void> {
    const [first] = this.#byNumber.getKeys({ limit: 1 });
    for (let areMore = first !== undefined; areMore;) {
      areMore = await write(() => {
        const rows = [...this.#byNumber.getRange({ limit: ROWS_PER_TRANSACTION })];
        for (const { key, value } of rows) {
          this.putSync([0, key], value);
          this.#byNumber.removeSync(key);
        }
        return rows.length === ROWS_PER_TRANSACTION;
      });
    }
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
