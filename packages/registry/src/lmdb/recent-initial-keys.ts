import type { Database } from 'lmdb';
import { hadInitialKey, type RecentInitialKey, rememberInitialKey } from '../model/recent-initial-keys.js';

/** Which initial keys each ID had lately, in LMDB. */
export class RecentInitialKeys {
  readonly table: Database<readonly RecentInitialKey[], number>;

  constructor(table: Database<readonly RecentInitialKey[], number>) {
    this.table = table;
  }

  /**
   * Whether anything is remembered of the ID, old or not: of nearly none, which spares an import of
   * many nodes the rest.
   */
  has(idI: number): boolean {
    return this.table.doesExist(idI);
  }

  of(idI: number): readonly RecentInitialKey[] {
    return this.table.get(idI) ?? [];
  }

  /** Whether the ID had this key lately. `at`: the time by the servers' clock, here and below. */
  had(idI: number, ik: Uint8Array, at: number): boolean {
    return hadInitialKey(this.of(idI), ik, at);
  }

  /** Inside a write transaction: the ID has this key until now. */
  remember(idI: number, ik: Uint8Array, at: number): void {
    this.table.putSync(idI, rememberInitialKey(this.of(idI), ik, at));
  }
}
