import { TRANSACTION_LIFE_MS } from './constants.js';
import type { Source } from './source.js';

/** How many wrong M5 came from each source lately. A forged source address counts for the unproven alone. */
export class WrongProofs {
  /** Sources of either kind remembered at once; the one that came first makes room. */
  static readonly #MAX_SOURCES = 1024;
  /** Wrong M5 from one source in one transaction's life before it must prove its address, and proven before it is refused. */
  static readonly #MAX_WRONG = 16;

  readonly #proven = new Map<string, WrongCount>();
  readonly #claimed = new Map<string, WrongCount>();

  tooMany(source: Source, steady: number): boolean {
    const entry = this.#table(source).get(source.address);
    return entry !== undefined && steady - entry.since < TRANSACTION_LIFE_MS && entry.wrong >= WrongProofs.#MAX_WRONG;
  }

  count(source: Source, steady: number): void {
    const table = this.#table(source);
    const entry = table.get(source.address);
    if (entry !== undefined && steady - entry.since < TRANSACTION_LIFE_MS) {
      entry.wrong += 1;
      return;
    }
    table.delete(source.address);
    for (const first of table.keys()) {
      if (table.size < WrongProofs.#MAX_SOURCES) break;
      table.delete(first);
    }
    table.set(source.address, { wrong: 1, since: steady });
  }

  #table(source: Source): Map<string, WrongCount> {
    return source.proven ? this.#proven : this.#claimed;
  }
}

interface WrongCount {
  wrong: number;
  readonly since: number;
}
