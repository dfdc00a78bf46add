import type { Database } from 'lmdb';

/** Rows in one transaction. */
const ROWS_PER_TRANSACTION = 4_096;

/**
 * Seals the rows of a table anew, chunk by chunk. One that was sealed already costs a look, so that
 * after a crash it goes on where it was.
 *
 * @param write runs a write transaction
 * @param rewrap the row sealed anew, or `undefined` where it is so already
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
