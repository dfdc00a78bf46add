import type { Database } from 'lmdb';

/** Rows in one transaction. */
const ROWS_PER_TRANSACTION = 4_096;

/**
 * Reseals the rows of a table, chunk by chunk. A row that is already resealed costs one read, so
 * the work continues after a crash where it stopped.
 *
 * @param write runs a write transaction
 * @param rewrap returns the resealed row, or `undefined` if it is resealed already
 */
export async function rewrapTable<Row>(
  table: Database<Row, number>,
  write: (action: () => number) => Promise<number>,
  rewrap: (id: number, row: Row) => Row | undefined,
  progress: (rows: number) => void = () => undefined,
): Promise<void> {
  for (let from = 0; from <= 0xffff_ffff;) {
    let scanned = 0;
    from = await write(() => {
      const batch = [...table.getRange({ start: from, limit: ROWS_PER_TRANSACTION })];
      for (const { key, value } of batch) {
        const row = rewrap(key, value);
        if (row !== undefined) table.putSync(key, row);
      }
      scanned = batch.length;
      return (scanned < ROWS_PER_TRANSACTION ? 0xffff_ffff : (batch.at(-1)?.key ?? 0xffff_ffff)) + 1;
    });
    progress(scanned);
  }
}
