import type { Database } from 'lmdb';

/** Rows in one transaction. */
const CHUNK = 4_096;

/**
 * Seals the rows of a table anew, chunk by chunk. One that was sealed already costs a look, so that after a crash it goes on where it was.
 *
 * @param write runs a write transaction
 * @param reseal the row sealed anew, or `undefined` where it is so already
 */
export async function resealTable<Row>(
  table: Database<Row, number>,
  write: (action: () => number) => Promise<number>,
  reseal: (id: number, row: Row) => Row | undefined,
  progress: (rows: number) => void = () => undefined,
): Promise<void> {
  for (let from = 0; from <= 0xffff_ffff;) {
    let looked = 0;
    from = await write(() => {
      const chunk = [...table.getRange({ start: from, limit: CHUNK })];
      for (const { key, value } of chunk) {
        const row = reseal(key, value);
        if (row !== undefined) table.putSync(key, row);
      }
      looked = chunk.length;
      return (looked < CHUNK ? 0xffff_ffff : (chunk.at(-1)?.key ?? 0xffff_ffff)) + 1;
    });
    progress(looked);
  }
}
