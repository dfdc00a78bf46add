import { LENGTH } from './constants.js';

const ROW: number = LENGTH.M1 + LENGTH.M4 + LENGTH.M5 + LENGTH.M6;
const M4_AT = LENGTH.M1;
const M5_AT: number = M4_AT + LENGTH.M4;
const M6_AT: number = M5_AT + LENGTH.M5;

/**
 * M1, M4, M5 and M6 of transactions that are through, for whoever sends M1 or M5 once more: a row of one piece of memory each, since there may be as
 * many of these as of open ones, and four arrays each would take six times as much.
 */
export class KeptMessages {
  readonly #octets: Uint8Array;
  readonly #free: number[] = [];
  #unused = 0;

  /** @param rows that there may be at once */
  constructor(rows: number) {
    this.#octets = new Uint8Array(rows * ROW);
  }

  /** Takes copies; gives the row. There must be one left. */
  keep(m1: Uint8Array, m4: Uint8Array, m5: Uint8Array, m6: Uint8Array): number {
    const row = this.#free.pop() ?? this.#unused++;
    const at = row * ROW;
    this.#octets.set(m1, at);
    this.#octets.set(m4, at + M4_AT);
    this.#octets.set(m5, at + M5_AT);
    this.#octets.set(m6, at + M6_AT);
    return row;
  }

  m1(row: number): Uint8Array {
    return this.#part(row, 0, LENGTH.M1);
  }

  m4(row: number): Uint8Array {
    return this.#part(row, M4_AT, LENGTH.M4);
  }

  m5(row: number): Uint8Array {
    return this.#part(row, M5_AT, LENGTH.M5);
  }

  m6(row: number): Uint8Array {
    return this.#part(row, M6_AT, LENGTH.M6);
  }

  /** The row may be used again. */
  drop(row: number): void {
    this.#free.push(row);
  }

  #part(row: number, from: number, length: number): Uint8Array {
    const at = row * ROW + from;
    return this.#octets.slice(at, at + length);
  }
}
