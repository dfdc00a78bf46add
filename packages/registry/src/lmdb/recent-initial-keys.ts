/**
 * Which initial keys each ID had lately. An administrator who gives one of them to that ID again
 * gives it to a node of which an M7 from before may still come: the row keeps that time (protocol,
 * `reissuedAt`). `remove` takes the row away, and the key with it, so that is kept here, by the
 * key's identity.
 *
 * What is kept is needed for `INITIAL_KEY_RETENTION_MS` only. If the clock steps meanwhile nothing
 * is lost. After a step forward an old M7 is outside the window for its TS. After a step back no M7
 * from before the step is committed at all (runtime, times.ts).
 */

import { INITIAL_KEY_RETENTION_MS } from '@latchkey/protocol';
import { scanTable } from '@latchkey/lmdb';
import type { Database } from 'lmdb';

/** Keys of one ID at most. At the bound the two oldest become one, which stands for any key. */
const MAX_PER_ID = 8;
/** IDs looked at in one `forget`. */
const CHUNK = 1_024;
/** In place of an identity: any key. */
const ANY = new Uint8Array(0);

/**
 * An initial key that an ID had, by its identity, and until when: ms since the epoch, by the
 * servers' clock.
 */
export interface RecentInitialKey {
  ik: Uint8Array;
  until: number;
}

export class RecentInitialKeys {
  readonly #table: Database<RecentInitialKey[], number>;
  /** Where `forget` goes on. */
  #next = 0;

  constructor(table: Database<RecentInitialKey[], number>) {
    this.#table = table;
  }

  /**
   * Whether anything is remembered of the ID, old or not: of nearly none, which spares an import of
   * many nodes the rest.
   */
  has(idI: number): boolean {
    return this.#table.doesExist(idI);
  }

  /** Whether the ID had this key lately. `at`: the time by the servers' clock, here and below. */
  had(idI: number, ik: Uint8Array, at: number): boolean {
    return this.#of(idI, at).some((key) => key.ik.length === 0 || isSame(key.ik, ik));
  }

  /** Inside a write transaction: the ID has this key until now. */
  remember(idI: number, ik: Uint8Array, at: number): void {
    const others = this.#of(idI, at).filter((other) => !isSame(other.ik, ik));
    const [oldest, next] = others;
    if (others.length >= MAX_PER_ID && oldest !== undefined && next !== undefined)
      others.splice(0, 2, { ik: ANY, until: Math.max(oldest.until, next.until) });
    this.#table.putSync(idI, [...others, { ik, until: at }]);
  }

  /**
   * Looks at some IDs, the next ones each time, and removes what is old: `write` runs an action in
   * a write transaction. Resolves with how many IDs were removed.
   */
  async forget(at: number, write: <T>(action: () => T) => Promise<T>): Promise<number> {
    const old: number[] = [];
    let looked = 0;
    const from = this.#next;
    this.#next = 0;
    for (const { key: idI, value } of scanTable(this.#table, from)) {
      if (looked === CHUNK) {
        this.#next = idI;
        break;
      }
      looked += 1;
      if (recent(value, at).length === 0) old.push(idI);
    }
    if (old.length === 0) return 0;
    return write(() => {
      // Another process may have added to one of them meanwhile.
      const still = old.filter((idI) => this.#of(idI, at).length === 0);
      for (const idI of still) this.#table.removeSync(idI);
      return still.length;
    });
  }

  #of(idI: number, at: number): RecentInitialKey[] {
    return recent(this.#table.get(idI) ?? [], at);
  }
}

/** One that lies far ahead is from before a step back of the clock. */
function recent(keys: readonly RecentInitialKey[], at: number): RecentInitialKey[] {
  return keys.filter(({ until }) => Math.abs(at - until) <= INITIAL_KEY_RETENTION_MS);
}

function isSame(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}
