/**
 * What the disk and LMDB take for the rows of a registry, and nothing else: no keys sealed, nothing
 * parsed, nothing compared.
 */

import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { openStore } from '@latchkey/lmdb';
import type { Database } from 'lmdb';
import type { RegistryFixture } from './registry-fixture.js';

/** As many as an import writes at once. */
const ROWS_PER_TRANSACTION = 4_096;

/** Puts the rows of the site's nodes into a bare store, in the order of their IDs; gives ms. */
export async function measureLmdbBaseline(
  fixture: RegistryFixture,
  folder: string,
): Promise<{ readonly wallMs: number; readonly cpuMs: number }> {
  const from = await openStore(join(fixture.folder, 'registry'), { maxDbs: 12 });
  const to = await openStore(folder, { maxDbs: 1 });
  try {
    const binary = { name: 'nodes', keyEncoding: 'uint32', encoding: 'binary' } as const;
    const rows: Database<Buffer, number> = from.openDB(binary);
    const bare: Database<Buffer, number> = to.openDB(binary);
    let [wallMs, cpuMs] = [0, 0];
    for (let next = 0; ;) {
      const chunk = [...rows.getRange({ start: next, limit: ROWS_PER_TRANSACTION })].map(
        ({ key, value }) => [key, Buffer.from(value)] as const,
      );
      const last = chunk.at(-1);
      if (last === undefined) return { wallMs, cpuMs };
      const [since, cpuSince] = [performance.now(), process.cpuUsage()];
      await to.childTransaction(() => {
        for (const [key, value] of chunk) bare.putSync(key, value);
      });
      wallMs += performance.now() - since;
      const { user, system } = process.cpuUsage(cpuSince);
      cpuMs += (user + system) / 1000;
      next = last[0] + 1;
    }
  } finally {
    await Promise.all([from.close(), to.close()]);
    await rm(folder, { recursive: true, force: true });
  }
}
